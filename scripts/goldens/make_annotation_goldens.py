"""Writes tests/fixtures/annotations: labels in the formats of annotation tools, and the label maps that the tools' own
libraries draw of them.

Needs labelme, pycocotools, label-studio-sdk, cvat-sdk, geopandas, rasterio, scikit-image and Pillow.

    python scripts/goldens/make_annotation_goldens.py
"""

import base64
import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

FOLDER = Path("tests/fixtures/annotations")
WIDTH, HEIGHT = 96, 64
CLASSES = ["seep", "ship", "land"]

# x, y in pixels; a concave outline, one with a corner on a pixel's centre, one that leaves the image.
POLYGONS = [
    ("seep", [[10.2, 8.4], [50.7, 6.1], [44.3, 30.9], [28.8, 18.2], [14.1, 41.6]]),
    ("ship", [[30.5, 20.5], [60.25, 24.0], [55.5, 50.5], [26.0, 46.75]]),
    ("land", [[70.0, -10.0], [130.0, 20.0], [92.0, 80.0], [66.3, 40.2]]),
]


def number(name):
    return CLASSES.index(name) + 1


def save(name, label_map):
    Image.fromarray(label_map.astype(np.uint8)).save(FOLDER / f"{name}.png", optimize=True)


def write(name, value):
    (FOLDER / name).write_text(json.dumps(value, indent=1) + "\n")


def blob(seed):
    """A ragged region: a mask that no polygon gives."""
    noise = np.random.default_rng(seed).random((HEIGHT, WIDTH))
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    return noise > 0.15 + ((x - 60) ** 2 / 900 + (y - 30) ** 2 / 400)


def png(mask):
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert("1").save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def labelme():
    from labelme.utils import shape_to_mask

    shapes = [{"label": name, "points": points, "shape_type": "polygon", "group_id": None, "flags": {}}
              for name, points in POLYGONS]
    mask = blob(1)
    rows, columns = np.where(mask)
    top, left, bottom, right = rows.min(), columns.min(), rows.max(), columns.max()
    shapes += [
        {"label": "seep", "points": [[2.0, 50.0], [20.4, 60.7]], "shape_type": "rectangle"},
        {"label": "land", "points": [[80.2, 52.4], [84.2, 55.4]], "shape_type": "circle"},
        {"label": "ship", "points": [[40.0, 58.0], [62.0, 55.0]], "shape_type": "line"},
        {"label": "land", "points": [[int(left), int(top)], [int(right), int(bottom)]], "shape_type": "mask"},
    ]
    label_map = np.zeros((HEIGHT, WIDTH), int)
    for shape in shapes:
        if shape["shape_type"] == "mask":
            label_map[mask] = number(shape["label"])
            shape["mask"] = png(mask[top:bottom + 1, left:right + 1])
        else:
            drawn = shape_to_mask((HEIGHT, WIDTH), shape["points"], shape["shape_type"])
            label_map[drawn] = number(shape["label"])
    write("labelme.json", {"version": "6.3.1", "flags": {}, "shapes": shapes, "imagePath": "scene.png",
                           "imageData": None, "imageHeight": HEIGHT, "imageWidth": WIDTH})
    save("labelme", label_map)


def coco():
    from pycocotools import mask as rle
    from pycocotools.coco import COCO

    flat = [sum(points, []) for _, points in POLYGONS]
    packed = rle.encode(np.asfortranarray(blob(2).astype(np.uint8)))
    plain = blob(3)[:, ::-1]
    counts, last, run = [], 0, 0
    for bit in plain.T.ravel():
        if bit != last:
            counts.append(run)
            last, run = bit, 0
        run += 1
    counts.append(run)
    segmentations = [
        ("seep", [flat[0], [70, 5, 90, 5, 90, 20, 70, 20], [80, 10, 95, 10, 95, 30, 80, 30]], 0),
        ("ship", [flat[1]], 0),
        ("land", {"size": [HEIGHT, WIDTH], "counts": counts}, 1),
        ("seep", {"size": [HEIGHT, WIDTH], "counts": packed["counts"].decode()}, 0),
    ]
    annotations = [{"id": i + 1, "image_id": 7, "category_id": 10 * number(name), "segmentation": segmentation,
                    "iscrowd": crowd, "area": 1, "bbox": [0, 0, 1, 1]}
                   for i, (name, segmentation, crowd) in enumerate(segmentations)]
    write("coco.json", {
        "info": {}, "licenses": [],
        "images": [{"id": 7, "file_name": "scene.png", "width": WIDTH, "height": HEIGHT},
                   {"id": 9, "file_name": "empty.png", "width": WIDTH, "height": HEIGHT}],
        "categories": [{"id": 10 * number(name), "name": name, "supercategory": ""} for name in CLASSES],
        "annotations": annotations,
    })
    dataset = COCO(FOLDER / "coco.json")
    label_map = np.zeros((HEIGHT, WIDTH), int)
    for annotation in annotations:
        label_map[dataset.annToMask(annotation) > 0] = annotation["category_id"] // 10
    save("coco", label_map)


def label_studio():
    from label_studio_sdk.converter import brush
    from skimage.draw import polygon2mask

    label_map = np.zeros((HEIGHT, WIDTH), int)
    results = []

    def add(name, kind, value, key=None):
        value = dict(value, **{key or kind: [name]})
        results.append({"id": f"r{len(results)}", "type": kind, "from_name": "label", "to_name": "image",
                        "original_width": WIDTH, "original_height": HEIGHT, "image_rotation": 0, "value": value})

    for name, points in POLYGONS[:2]:
        shares = [[100 * x / WIDTH, 100 * y / HEIGHT] for x, y in points]
        add(name, "polygonlabels", {"points": shares, "closed": True})
        # skimage counts from the centre of the first pixel.
        corners = np.array([[y - 0.5, x - 0.5] for x, y in points])
        label_map[polygon2mask((HEIGHT, WIDTH), corners)] = number(name)
    mask = blob(4)
    packed = brush.mask2rle(mask.astype(np.uint8) * 255)
    add("land", "brushlabels", {"format": "rle", "rle": packed})
    decoded = brush.decode_rle(packed).reshape(HEIGHT, WIDTH, 4)[:, :, 3]
    label_map[decoded > 0] = number("land")
    write("label_studio.json", [
        {"id": 1, "file_upload": "0a1b2c3d-scene.png", "data": {"image": "/data/upload/1/0a1b2c3d-scene.png"},
         "annotations": [{"id": 1, "was_cancelled": False, "ground_truth": False, "result": results}]},
    ])
    save("label_studio", label_map)


def cvat():
    from cvat_sdk.masks import decode_mask, encode_mask
    from skimage.draw import polygon2mask

    mask = blob(5)
    *runs, left, top, right, bottom = (int(n) for n in encode_mask(mask))
    label_map = np.zeros((HEIGHT, WIDTH), int)
    lines = ['<?xml version="1.0" encoding="utf-8"?>', "<annotations>", "  <version>1.1</version>", "  <meta><job><labels>"]
    lines += [f"    <label><name>{name}</name><color>#ff00{i}0</color><attributes></attributes></label>"
              for i, name in enumerate(CLASSES)]
    lines += ["  </labels></job></meta>", f'  <image id="0" name="scene.png" width="{WIDTH}" height="{HEIGHT}">']
    # The file names the upper one first; z_order says which lies above.
    for order, (name, points) in reversed(list(enumerate(POLYGONS[:2]))):
        text = ";".join(f"{x:.2f},{y:.2f}" for x, y in points)
        lines.append(f'    <polygon label="{name}" source="manual" occluded="0" points="{text}" z_order="{order}">'
                     "</polygon>")
    for name, points in POLYGONS[:2]:
        corners = np.array([[round(y, 2) - 0.5, round(x, 2) - 0.5] for x, y in points])
        label_map[polygon2mask((HEIGHT, WIDTH), corners)] = number(name)
    lines.append(f'    <mask label="land" source="manual" occluded="0" rle="{", ".join(map(str, runs))}" left="{left}" '
                 f'top="{top}" width="{right - left + 1}" height="{bottom - top + 1}" z_order="5"></mask>')
    label_map[decode_mask([*runs, left, top, right, bottom], image_width=WIDTH, image_height=HEIGHT)] = number("land")
    lines += ["  </image>", "</annotations>", ""]
    (FOLDER / "cvat.xml").write_text("\n".join(lines))
    save("cvat", label_map)


def on_map():
    import geopandas
    import rasterio
    from rasterio.features import rasterize
    from shapely import Polygon
    from shapely.affinity import affine_transform

    a, b, c, d, e, f = 10.0, 0.0, 400_000.0, 0.0, -10.0, 6_200_000.0
    profile = dict(driver="GTiff", width=WIDTH, height=HEIGHT, count=1, dtype="uint8", crs="EPSG:32631",
                   transform=rasterio.Affine(a, b, c, d, e, f), compress="deflate")
    with rasterio.open(FOLDER / "map.tif", "w", **profile) as raster:
        raster.write(np.full((1, HEIGHT, WIDTH), 7, np.uint8))
    hole = [[35.0, 28.0], [45.0, 29.0], [42.0, 40.0]]
    polygons = [Polygon(points, [hole] if name == "ship" else []) for name, points in POLYGONS]
    on_earth = [affine_transform(polygon, [a, b, d, e, c, f]) for polygon in polygons]
    frame = geopandas.GeoDataFrame({"class": [name for name, _ in POLYGONS]}, geometry=on_earth, crs="EPSG:32631")
    # Older GDAL writes the system into the file; with RFC7946=NO it does so still.
    frame.to_file(FOLDER / "map.geojson", driver="GeoJSON")
    frame.to_file(FOLDER / "map.shp")
    (FOLDER / "map.cpg").unlink(missing_ok=True)
    frame.to_crs("EPSG:4326").to_file(FOLDER / "degrees.geojson", driver="GeoJSON")
    shapes = [(shape, number(name)) for shape, (name, _) in zip(on_earth, POLYGONS)]
    save("map", rasterize(shapes, (HEIGHT, WIDTH), transform=profile["transform"]))


def by_hand():
    """VIA's and YOLO's forms, of which no library draws label maps: the outlines of the others."""
    from skimage.draw import polygon2mask

    regions = [{"shape_attributes": {"name": "polygon", "all_points_x": [x for x, _ in points],
                                     "all_points_y": [y for _, y in points]},
                "region_attributes": {"class": name, "note": ""}} for name, points in POLYGONS[:2]]
    image = {"filename": "scene.png", "size": 1234, "regions": regions, "file_attributes": {}}
    write("via.json", {"_via_settings": {}, "_via_img_metadata": {"scene.png1234": image}, "_via_attributes": {},
                       "_via_image_id_list": ["scene.png1234"]})
    rows = ["#filename,file_size,file_attributes,region_count,region_id,region_shape_attributes,region_attributes"]
    for i, region in enumerate(regions):
        quoted = [json.dumps(region[key]).replace('"', '""') for key in ("shape_attributes", "region_attributes")]
        rows.append(f'scene.png,1234,"{{}}",2,{i},"{quoted[0]}","{quoted[1]}"')
    (FOLDER / "via.csv").write_text("\n".join(rows) + "\n")
    (FOLDER / "yolo" / "labels").mkdir(parents=True, exist_ok=True)
    lines = [" ".join([str(CLASSES.index(name))] + [f"{x / WIDTH:.9f} {y / HEIGHT:.9f}" for x, y in points])
             for name, points in POLYGONS[:2]]
    (FOLDER / "yolo" / "labels" / "scene.txt").write_text("\n".join(lines) + "\n")
    (FOLDER / "yolo" / "data.yaml").write_text("path: .\ntrain: images\nnames:\n  0: seep\n  1: ship\n  2: land\n")
    label_map = np.zeros((HEIGHT, WIDTH), int)
    for name, points in POLYGONS[:2]:
        corners = np.array([[y - 0.5, x - 0.5] for x, y in points])
        label_map[polygon2mask((HEIGHT, WIDTH), corners)] = number(name)
    save("outlines", label_map)


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for make in (labelme, coco, label_studio, cvat, on_map, by_hand):
        make()
