// Requests to the server of this page, with its errors in words.

export class ApiError extends Error {
  constructor(message, status = 0, body = null) {
    super(message);
    this.name = "ApiError";
    this.status = status;
    this.body = body;
  }
}

// An error in words that the server told by other ways than a status.
export const faultOf = text => new ApiError(sentence(text), 422);

const OFFLINE = "The server does not answer. Check that segtool serve is still running, then try again.";
const WORDS = {
  401: "This page needs the token: open the address that segtool serve wrote when it started.",
  403: "The server refused this request: open the page at the address that segtool serve wrote.",
  404: "The server no longer has this result: run the image again.",
  413: "This file is larger than the server accepts.",
  415: "The server cannot read this kind of file: choose a PNG, JPEG or TIFF image.",
  503: "The queue is full: try again in a moment.",
};

// The server's sentences begin small and without a full stop, like those of the command line. A name at the start stays as it is.
export function sentence(text) {
  const begun = text.replace(/^[a-z]+(?=[ ,])/, word => word[0].toUpperCase() + word.slice(1));
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

function failure(status, text) {
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    // A proxy between answers in HTML; the status says enough.
  }
  const message = body?.error ?? WORDS[status] ?? `The server answered with status ${status}`;
  return new ApiError(sentence(message), status, body);
}

// The response of a request that went well. `json` is sent as JSON, `body` as it is. An aborted `signal` throws an AbortError.
export async function request(path, { method = "GET", json, body, signal } = {}) {
  const options = { method, headers: {}, body, signal, credentials: "same-origin" };
  if (json !== undefined) {
    options.body = JSON.stringify(json);
    options.headers["Content-Type"] = "application/json";
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch (error) {
    throw error.name === "AbortError" ? error : new ApiError(OFFLINE);
  }
  if (!response.ok) throw failure(response.status, await response.text());
  return response;
}

// The JSON of the answer.
export async function getJson(path, options) {
  return (await request(path, options)).json();
}

// The bytes of the answer and its headers.
export async function getBytes(path, options) {
  const response = await request(path, options);
  return { bytes: new Uint8Array(await response.arrayBuffer()), headers: response.headers };
}

// An image as an ImageBitmap, ready to be drawn.
export async function getBitmap(path, options) {
  const response = await request(path, options);
  return createImageBitmap(await response.blob());
}

// Posts a file and tells how much of it is sent, which fetch cannot: progress(share) with a share of 0 to 1.
export function upload(path, file, { progress = () => {}, signal } = {}) {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest();
    const abort = () => call.abort();
    call.open("POST", path);
    call.setRequestHeader("Content-Type", file.type || "application/octet-stream");
    call.upload.addEventListener("progress", event => {
      if (event.lengthComputable) progress(event.loaded / event.total);
    });
    call.addEventListener("load", () => {
      if (call.status >= 200 && call.status < 300) resolve(JSON.parse(call.responseText));
      else reject(failure(call.status, call.responseText));
    });
    call.addEventListener("error", () => reject(new ApiError(OFFLINE)));
    call.addEventListener("abort", () => reject(new DOMException("The upload was cancelled.", "AbortError")));
    call.addEventListener("loadend", () => signal?.removeEventListener("abort", abort));
    signal?.addEventListener("abort", abort);
    call.send(file);
  });
}

// Listens to server-sent events: handlers by event name get the parsed JSON. The browser connects again by itself;
// `lost` and `found` tell of it. Returns the EventSource: close() ends it.
export function listen(path, handlers, { lost = () => {}, found = () => {} } = {}) {
  const source = new EventSource(path);
  let broken = false;
  for (const [name, handle] of Object.entries(handlers)) {
    source.addEventListener(name, event => handle(JSON.parse(event.data)));
  }
  source.addEventListener("error", () => {
    broken = true;
    lost(source.readyState === EventSource.CLOSED);
  });
  source.addEventListener("open", () => {
    if (broken) found();
    broken = false;
  });
  return source;
}
