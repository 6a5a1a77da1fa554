// The start: the model, its samples, and the ways to give an image.

import { bytes, counted, element, find, whole } from "/assets/words.js";

const READ = ".jpg,.jpeg,.png,.tif,.tiff,.jp2,.j2k,.bmp,.gif,.webp,.ppm,.pgm,.pnm,image/*";
const KINDS = { network: "network", forest: "random forest" };

export class Start {
  // run(sources, isRetry) gets what is to be segmented: { kind: "file" | "sample" | "url", name, model, bands, ... }.
  constructor(models, { run, fail }) {
    this.models = models;
    this.run = run;
    this.fail = fail;
    this.model = models[0];
    find("file").accept = READ;
    find("model-choice").hidden = models.length < 2;
    find("model").replaceChildren(...models.map(({ id, name }) => element("option", { value: id }, name)));
    this.listen();
    this.describe();
  }

  describe() {
    const { model } = this;
    const { name, kind, recipe, dataset, bands, classes, samples, limits } = model;
    find("promise").textContent = `Assigns every pixel one of ${counted(classes.length, "class", "classes")}. Uploaded images stay in the server's memory and are never written to its disk.`;
    find("model-name").textContent = name;
    const facts = [["Kind", KINDS[kind] ?? kind], ["Recipe", recipe], ["Trained on", dataset], ["Bands", whole(bands)]];
    find("facts").replaceChildren(...facts.filter(([, value]) => value).map(([term, value]) =>
      element("div", {}, element("dt", {}, term), element("dd", {}, value))));
    find("finds").textContent = `Finds ${counted(classes.length, "class", "classes")}`;
    find("classes").replaceChildren(...classes.map(chip));
    find("limits").textContent = `JPEG, PNG, TIFF or GeoTIFF and others, up to ${bytes(limits.bytes)} and ${whole(limits.pixels / 1e6)} megapixels`;
    find("bands-help").textContent = `Band numbers start at 1. Needed only if an image has more bands than the model uses (${whole(bands)}).`;
    find("address").hidden = !model.url_allowed;
    find("samples").hidden = !samples.length;
    find("thumbnails").replaceChildren(...samples.map(sample => this.thumbnail(sample)));
  }

  thumbnail({ id, name }) {
    const preview = `/api/models/${encodeURIComponent(this.model.id)}/samples/${id}/thumbnail.jpg`;
    const image = element("img", { src: preview, alt: "", loading: "lazy" });
    const button = element("button", { type: "button", className: "thumbnail" }, image, element("span", {}, name));
    button.addEventListener("click", () => this.give([{ kind: "sample", sample: id, name, preview }]));
    return element("li", {}, button);
  }

  // null where the text is no list of bands.
  bands() {
    const text = find("bands").value.trim();
    const isList = text === "" || /^\d+(\s*[,\s]\s*\d+)*$/.test(text);
    find("bands").setAttribute("aria-invalid", !isList);
    if (isList) return text === "" ? "" : text.split(/[,\s]+/).join(",");
    this.askBands();
    this.fail(`"${text}" is not a list of bands: enter their numbers, for example 4,3,2.`);
    return null;
  }

  askBands() {
    find("band-options").open = true;
    find("bands").focus();
  }

  give(sources, isRetry = false) {
    const bands = sources.every(({ kind }) => kind === "sample") ? "" : this.bands();
    if (bands === null) return;
    this.run(sources.map(source => ({ ...source, model: this.model, bands })), isRetry);
  }

  giveFiles(files) {
    const { limits } = this.model;
    const fitting = [...files].filter(file => file.size <= limits.bytes);
    const large = [...files].filter(file => file.size > limits.bytes);
    // First, as a new batch clears the failures of the one before.
    if (fitting.length) this.give(fitting.map(file => ({ kind: "file", file, name: file.name || "pasted.png" })));
    const names = large.map(({ name, size }) => `${name} (${bytes(size)})`).join(", ");
    const [are, them] = large.length > 1 ? ["are", "them"] : ["is", "it"];
    if (large.length) this.fail(`${names} ${are} too large: this server accepts files up to ${bytes(limits.bytes)}. Crop ${them}, or ask the operator to raise --max-size.`);
  }

  listen() {
    find("model").addEventListener("change", event => {
      this.model = this.models.find(({ id }) => id === event.target.value);
      this.describe();
    });
    find("choose").addEventListener("click", () => find("file").click());
    find("file").addEventListener("change", event => {
      this.giveFiles(event.target.files);
      event.target.value = "";
    });
    find("address").addEventListener("submit", event => {
      event.preventDefault();
      const url = find("url").value.trim();
      this.give([{ kind: "url", url, name: nameOf(url) }]);
    });
    addEventListener("paste", event => {
      if (event.target.closest("input, textarea") || !event.clipboardData.files.length) return;
      event.preventDefault();
      this.giveFiles(event.clipboardData.files);
    });
    this.listenDrop();
  }

  listenDrop() {
    const veil = find("veil");
    const hasFiles = event => event.dataTransfer?.types.includes("Files");
    addEventListener("dragenter", event => { veil.hidden = !hasFiles(event); });
    addEventListener("dragover", event => {
      if (hasFiles(event)) event.preventDefault();
    });
    addEventListener("dragleave", event => {
      if (!event.relatedTarget) veil.hidden = true;
    });
    addEventListener("drop", event => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      veil.hidden = true;
      this.giveFiles(event.dataTransfer.files);
    });
  }
}

function chip({ name, color }) {
  const swatch = element("span", { className: "swatch" });
  swatch.style.background = color;
  return element("li", {}, swatch, name);
}

function nameOf(url) {
  const last = URL.canParse(url) ? new URL(url).pathname.split("/").pop() : "";
  return last || url;
}
