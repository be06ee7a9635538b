// The page: photos in, the mask, the legend and files out. The worker does the rest.

const element = (id) => document.getElementById(id);
const ask = worker(new Worker(new URL("worker.js", import.meta.url)));
const camera = element("camera");
const stage = element("stage");
let model = null;
// The name of the latest photo, for files that are saved.
let photoName = "photo";
// Counts the photos asked for: an answer to an earlier one is thrown away.
let asked = 0;
let stream = null;

/** Returns a function that asks the worker for an action, and waits for the answer. */
function worker(process) {
  const waiting = new Map();
  let count = 0;
  process.onmessage = ({ data: { id, result, error } }) => {
    const { resolve, reject } = waiting.get(id);
    waiting.delete(id);
    if (error) reject(new Error(error));
    else resolve(result);
  };
  process.onerror = () => {
    say("This browser cannot start the page's worker. Use a recent Chrome, Edge, Firefox or Safari.");
  };
  return (action, argument, transfer = []) =>
    new Promise((resolve, reject) => {
      waiting.set(++count, { resolve, reject });
      process.postMessage({ id: count, action, argument }, transfer);
    });
}

/** Shows a sentence about what went wrong; without one, hides the last one. */
function say(sentence = "") {
  element("message").textContent = sentence;
  element("message").hidden = !sentence;
}

function tell(text) {
  element("status").textContent = text;
}

async function openModel(name) {
  setReady(false);
  element("model-facts").textContent = "Loading the model …";
  try {
    model = await ask("open", name);
  } catch (error) {
    element("model-facts").textContent = "The model did not open.";
    say(error.message);
    return;
  }
  const [height, width] = model.size;
  element("model-facts").textContent =
    `${model.classes.length} classes · ${model.precision} · ` +
    `${model.megabytes.toFixed(1)} MB · ${width}×${height} · on the ${model.device}`;
  tell("The model is ready.");
  setReady(true);
}

function setReady(isReady) {
  for (const id of ["choose", "camera", "model"]) element(id).disabled = !isReady;
}

/** Segments a file or a bitmap and shows the result; sentences are shown, too. */
async function segment(source, name) {
  if (!model) return false;
  const number = ++asked;
  say();
  if (!stream) {
    element("busy").hidden = false;
    tell("Computing …");
  }
  try {
    const transfer = source instanceof ImageBitmap ? [source] : [];
    const result = await ask("segment", source, transfer);
    if (number !== asked) return false;
    photoName = name;
    show(result);
    return true;
  } catch (error) {
    if (number === asked) say(error.message);
    return false;
  } finally {
    if (number === asked) element("busy").hidden = true;
  }
}

function show({ picture, mask, width, height, shares, time, networkTime }) {
  for (const [id, bitmap] of [["picture", picture], ["mask", mask]]) {
    const canvas = element(id);
    canvas.width = bitmap.width;
    canvas.height = bitmap.height;
    canvas.getContext("2d").drawImage(bitmap, 0, 0);
    bitmap.close();
  }
  element("pictures").style.setProperty("--aspect", width / height);
  element("hint").hidden = true;
  element("pictures").hidden = element("results").hidden = false;
  const found = shares
    .map((share, label) => ({ share, label }))
    .filter(({ share }) => share > 0)
    .sort((one, other) => other.share - one.share);
  element("legend").replaceChildren(...found.map(legendRow));
  element("time").textContent =
    `${Math.round(time)}\u00a0ms for ${width}×${height} pixels, ` +
    `of which ${Math.round(networkTime)}\u00a0ms the network`;
  const largest = found.slice(0, 3)
    .map(({ share, label }) => `${model.classes[label]} ${percent(share)}`);
  element("picture").setAttribute("aria-label", `The photo: ${largest.join(", ")}`);
  if (!stream) tell(`Done: ${largest.join(", ")}.`);
}

function legendRow({ share, label }) {
  const row = document.createElement("li");
  const colour = document.createElement("span");
  colour.className = "colour";
  colour.style.background = `rgb(${model.palette[label].join(" ")})`;
  const name = document.createElement("span");
  name.textContent = model.classes[label];
  const value = document.createElement("span");
  value.className = "share";
  value.textContent = percent(share);
  row.append(colour, name, value);
  return row;
}

function percent(share) {
  return share < 0.001 ? "< 0.1 %" : `${(100 * share).toFixed(1)} %`;
}

// Files: chosen, dropped, pasted

function take(files) {
  const [file] = files;
  if (!file) return;
  stopCamera();
  segment(file, file.name.replace(/\.[^.]*$/, "") || "photo");
}

element("choose").onclick = () => element("file").click();
element("file").onchange = ({ target }) => {
  take(target.files);
  target.value = ""; // so that the same file can be chosen again
};
document.addEventListener("paste", ({ clipboardData }) => {
  if (clipboardData.files.length) take(clipboardData.files);
  else say("The clipboard holds no picture; copy one, or choose a file.");
});
document.addEventListener("dragover", (event) => {
  event.preventDefault();
  stage.classList.add("over");
});
document.addEventListener("dragleave", ({ relatedTarget }) => {
  if (!relatedTarget) stage.classList.remove("over");
});
document.addEventListener("drop", (event) => {
  event.preventDefault();
  stage.classList.remove("over");
  if (event.dataTransfer.files.length) take(event.dataTransfer.files);
  else say("That was no file; drop a photo from a folder.");
});

// The camera: one picture after the other, as fast as the model is

camera.onclick = () => (stream ? stopCamera() : startCamera());

async function startCamera() {
  say();
  if (!navigator.mediaDevices) {
    say("Browsers give the camera to https and localhost only; open the page there, or choose a photo.");
    return;
  }
  try {
    stream = await navigator.mediaDevices.getUserMedia(
      { video: { facingMode: "environment" }, audio: false });
  } catch (error) {
    say(cameraSentence(error));
    return;
  }
  camera.textContent = "Stop camera";
  camera.setAttribute("aria-pressed", "true");
  tell("The camera is on.");
  const video = document.createElement("video");
  video.muted = video.playsInline = true;
  video.srcObject = stream;
  await video.play();
  const current = stream;
  while (stream === current) {
    const frame = await createImageBitmap(video);
    if (!(await segment(frame, "camera"))) break;
    await new Promise(requestAnimationFrame); // so that a hidden page rests
  }
  if (stream === current) stopCamera();
}

function cameraSentence({ name, message }) {
  if (name === "NotAllowedError") {
    return "The camera was refused; allow it in the browser's address bar, or choose a photo.";
  }
  if (name === "NotFoundError" || name === "OverconstrainedError") {
    return "No camera was found; connect one, or choose a photo.";
  }
  return `The camera does not start (${message || name}); close other programs that use it, or choose a photo.`;
}

/** Stops the camera; its last picture stays, and can be saved. */
function stopCamera() {
  if (!stream) return;
  for (const track of stream.getTracks()) track.stop();
  stream = null;
  camera.textContent = "Use camera";
  camera.setAttribute("aria-pressed", "false");
}

// The mask and the files

const opacity = element("opacity");
opacity.oninput = () => {
  element("mask").style.opacity = opacity.value / 100;
  element("opacity-value").textContent = `${opacity.value} %`;
};
opacity.oninput();

async function save(ending, action, argument) {
  stopCamera();
  try {
    const blob = await ask(action, argument);
    const link = document.createElement("a");
    link.href = URL.createObjectURL(blob);
    link.download = `${photoName}${ending}.png`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60000);
    tell(`Saved: ${link.download}`);
  } catch (error) {
    say(error.message);
  }
}
element("save-ids").onclick = () => save("", "saveIds");
element("save-overlay").onclick = () => save("_overlay", "saveOverlay", opacity.value / 100);

// The models of the site

async function start() {
  element("waiting").remove();
  const names = await (await fetch("models.json")).json();
  const select = element("model");
  select.replaceChildren(...names.map((name) => new Option(name.replace(/^model_|\.tflite$/g, ""), name)));
  select.onchange = async () => {
    stopCamera();
    await openModel(select.value);
    if (!element("pictures").hidden) await segment(null, photoName);
  };
  element("model-choice").hidden = names.length < 2;
  await openModel(names[0]);
}

start().catch((error) => say(`The page did not start: ${error.message}.`));
