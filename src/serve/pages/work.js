// One image on its way: upload, queue, progress, cancel.

import { faultOf, getJson, listen, request, upload } from "/assets/api.js";
import { counted, element, find, seconds, whole } from "/assets/words.js";

const FINISHED = ["done", "failed", "cancelled"];
const POLL = 2000;

export class Work {
  constructor(announce) {
    this.announce = announce;
    this.source = null;
    find("cancel").addEventListener("click", () => this.cancel());
    setInterval(() => this.tick(), 200);
  }

  get isBusy() {
    return this.source !== null;
  }

  // The finished job, or null where it was cancelled. Throws an ApiError.
  async run(source, waiting) {
    this.source = source;
    this.started = performance.now();
    this.controller = new AbortController();
    this.job = null;
    this.told = "";
    find("work-title").textContent = source.name;
    this.allowCancel(true);
    this.showPreview(source);
    this.more(waiting);
    try {
      this.job = await this.send(source);
      find("work").dataset.job = this.job.id;
      this.show(this.job);
      const job = FINISHED.includes(this.job.state) ? this.job : await this.wait(this.job.id);
      if (job.state === "failed") throw faultOf(job.error);
      if (job.state !== "done") return null;
      this.say("Loading the result.", null);
      return job;
    } catch (error) {
      if (error.name === "AbortError") return null;
      throw error;
    } finally {
      this.source = null;
      this.allowCancel(false);
      if (this.preview) URL.revokeObjectURL(this.preview);
      this.preview = null;
    }
  }

  showPreview({ kind, file, preview }) {
    // Browsers show these; TIFF only some.
    if (kind === "file" && /^image\/(png|jpeg|webp|gif|bmp)$/.test(file.type)) this.preview = URL.createObjectURL(file);
    const shown = this.preview ?? preview;
    find("preview").hidden = !shown;
    if (shown) find("preview").src = shown;
    else find("preview").removeAttribute("src");
  }

  allowCancel(allowed) {
    for (const id of ["cancel", "cancel-all"]) find(id).disabled = !allowed;
  }

  more(waiting) {
    find("cancel-all").hidden = !waiting;
    find("cancel-all").textContent = `Cancel all (${whole(waiting)} waiting)`;
    this.after = waiting ? ` Then ${counted(waiting, "more image")}.` : "";
  }

  send({ kind, model, name, bands, file, sample, url }) {
    const query = new URLSearchParams({ model: model.id });
    if (kind === "sample") query.set("sample", sample);
    else if (kind === "url") query.set("url", url);
    else query.set("name", name);
    if (bands) query.set("bands", bands);
    const path = `/api/jobs?${query}`;
    const { signal } = this.controller;
    if (kind !== "file") {
      this.say(kind === "url" ? "The server fetches the image." : "Starting.", null);
      return getJson(path, { method: "POST", signal });
    }
    this.say("Uploading.", 0);
    const progress = share => this.say(share < 1 ? `Uploading: ${Math.floor(100 * share)} %.` : "Uploaded. The server reads the image.", share < 1 ? share : null);
    return upload(path, file, { progress, signal });
  }

  wait(id) {
    return new Promise((resolve, reject) => {
      const finish = job => {
        this.show(job);
        if (!FINISHED.includes(job.state)) return;
        events.close();
        resolve(job);
      };
      const ask = async () => {
        try {
          const job = await getJson(`/api/jobs/${id}`);
          finish(job);
          if (!FINISHED.includes(job.state)) setTimeout(ask, POLL);
        } catch (error) {
          reject(error);
        }
      };
      const lost = closed => {
        this.say("The connection is lost; trying again.", null);
        // A browser that gives up the stream says so.
        if (closed) ask();
      };
      const events = listen(`/api/jobs/${id}/events`, { job: finish }, { lost });
      this.controller.signal.addEventListener("abort", () => {
        events.close();
        reject(new DOMException("The job was cancelled.", "AbortError"));
      });
    });
  }

  show({ state, position, progress }) {
    if (state === "queued") {
      const before = position > 1 ? `${counted(position - 1, "image")} before this one` : "next in the queue";
      this.say(`Waiting: ${before}.`, null);
    } else if (state === "running" && progress) {
      this.say(`Segmenting: window ${progress.done} of ${progress.total}.`, progress.done / progress.total);
    } else if (state === "running") {
      this.say("Segmenting.", null);
    }
  }

  say(text, share) {
    find("stage-text").textContent = text + this.after;
    if (share === null) find("bar").removeAttribute("value");
    else find("bar").value = share;
    // The screen reader hears each stage and each quarter, not each window.
    const stage = `${text.replace(/[:.].*/s, "")} ${share === null ? "" : Math.floor(4 * share)}`;
    if (stage !== this.told) this.announce(text);
    this.told = stage;
  }

  tick() {
    if (this.isBusy) find("elapsed").textContent = seconds(Math.floor((performance.now() - this.started) / 1000));
  }

  async cancel() {
    const { job } = this;
    this.allowCancel(false);
    this.controller.abort();
    if (!job) return;
    try {
      await request(`/api/jobs/${job.id}`, { method: "DELETE" });
    } catch {
      // It finished, or the server is gone: nothing is left to cancel.
    }
  }
}

// A message with a button to try again.
export function alertOf(message, { again } = {}) {
  const notice = element("div", { className: "notice bad" }, element("p", {}, message));
  const button = (label, act, kind) => {
    const made = element("button", { type: "button", className: kind }, label);
    made.addEventListener("click", () => {
      notice.remove();
      act?.();
    });
    notice.append(made);
  };
  if (again) button("Try again", again, "");
  button("Dismiss", null, "quiet");
  return notice;
}
