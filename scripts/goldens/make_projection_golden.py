"""Writes tests/fixtures/projections.csv: coordinates on maps with their longitude and latitude on WGS 84, by PROJ.

Needs pyproj. Lines of EPSG number, x, y, longitude, latitude: UTM zones on both hemispheres, up to 6 degrees from their
meridian, and Web Mercator.
"""

import pathlib

from pyproj import Transformer

HERE = pathlib.Path(__file__).resolve().parents[2] / "tests" / "fixtures" / "projections.csv"


def main():
    points = {3857: [(lon, lat) for lon in (-180, -71.25, 0, 12.3, 179.9) for lat in (-85, -33.3, 0, 0.001, 47.1, 85)]}
    for zone in (1, 17, 33, 60):
        offsets = (-6, -3, -0.7, 0, 1e-5, 2.2, 3, 5.5)
        meridian = zone * 6 - 183
        points[32600 + zone] = [(meridian + off, lat) for off in offsets for lat in (0, 1e-6, 12.5, 47.31, 71, 84)]
        points[32700 + zone] = [(meridian + off, lat) for off in offsets for lat in (-1e-6, -12.5, -47.31, -80)]
    lines = []
    for number, all_points in points.items():
        to_map = Transformer.from_crs(4326, number, always_xy=True)
        to_degrees = Transformer.from_crs(number, 4326, always_xy=True)
        for longitude, latitude in all_points:
            x, y = (round(value, 3) for value in to_map.transform(longitude, latitude))
            found = to_degrees.transform(x, y)
            # PROJ keeps longitudes within 180 degrees; those of a zone go on beyond.
            turns = round((longitude - found[0]) / 360) * 360
            lines.append(f"{number},{x!r},{y!r},{found[0] + turns!r},{found[1]!r}")
    HERE.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
