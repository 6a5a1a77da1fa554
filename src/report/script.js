"use strict";

// Values of the curves under the pointer.
for (const chart of document.querySelectorAll(".chart")) {
  const { epochs, left, right } = chart.dataset;
  const svg = chart.querySelector("svg");
  const guide = chart.querySelector(".guide");
  const width = svg.viewBox.baseVal.width;
  const keys = [...chart.querySelectorAll(".key")].map(key => [key.querySelector("output"), key.dataset.values.split(",")]);
  const show = index => {
    const x = index < 0 ? -9 : width * (+left + (right - left) * (index + 0.5) / epochs);
    guide.setAttribute("x1", x);
    guide.setAttribute("x2", x);
    chart.querySelector(".epoch").textContent = index < 0 ? "" : `epoch ${index + 1}`;
    for (const [output, values] of keys) output.textContent = values[index] ?? "";
  };
  svg.addEventListener("pointermove", event => {
    const box = svg.getBoundingClientRect();
    const part = ((event.clientX - box.left) / box.width - left) / (right - left);
    show(Math.min(Math.max(Math.floor(part * epochs), 0), epochs - 1));
  });
  svg.addEventListener("pointerleave", () => show(-1));
}

// Tables that are sorted by the column clicked on; numbers from the largest, what has no value last.
for (const table of document.querySelectorAll(".sortable")) {
  const body = table.tBodies[0];
  const heads = [...table.tHead.rows[0].cells];
  const sort = column => {
    const textual = column === 1;
    const first = textual || column === 0 ? "ascending" : "descending";
    const second = first === "ascending" ? "descending" : "ascending";
    const order = heads[column].getAttribute("aria-sort") === first ? second : first;
    heads.forEach(head => head.removeAttribute("aria-sort"));
    heads[column].setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const value = row => row.cells[column].dataset.value;
    const compare = (a, b) => {
      if (a === "" || b === "") return (a === "") - (b === "");
      return sign * (textual ? a.localeCompare(b) : a - b);
    };
    body.append(...[...body.rows].sort((a, b) => compare(value(a), value(b))));
  };
  heads.forEach((head, column) => head.querySelector("button").addEventListener("click", () => sort(column)));
}

// Predictions to flip through.
const viewer = document.querySelector(".viewer");
if (viewer) {
  const { classes, samples } = JSON.parse(document.getElementById("sample-data").textContent);
  let place = 0;
  const entry = ([index, label, prediction]) => {
    const item = document.createElement("li");
    const swatch = document.createElement("i");
    const shares = document.createElement("span");
    const [name, color] = classes[index];
    swatch.className = "swatch";
    swatch.style.background = color;
    shares.textContent = ` ${label} → ${prediction}`;
    item.append(swatch, name, shares);
    return item;
  };
  const show = step => {
    place = (place + step + samples.length) % samples.length;
    const sample = samples[place];
    for (const image of viewer.querySelectorAll("img")) {
      image.width = sample.width;
      image.height = sample.height;
      image.src = sample[image.dataset.show];
    }
    viewer.querySelector(".panels").classList.toggle("stacked", sample.width > 3 * sample.height);
    viewer.querySelector(".place").textContent = `${place + 1} of ${samples.length}`;
    viewer.querySelector(".name").textContent = sample.name;
    viewer.querySelector(".score").textContent = `mean IoU ${sample.score}`;
    viewer.querySelector(".legend").replaceChildren(...sample.legend.map(entry));
  };
  for (const button of viewer.querySelectorAll("button")) {
    button.addEventListener("click", () => show(+button.dataset.step));
  }
  document.addEventListener("keydown", event => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    const typing = event.target.closest("input") || event.altKey || event.ctrlKey || event.metaKey;
    if (step && !typing) show(step);
  });
  viewer.querySelector("input").addEventListener("input", event => {
    viewer.style.setProperty("--opacity", event.target.value / 100);
  });
  show(0);
}
