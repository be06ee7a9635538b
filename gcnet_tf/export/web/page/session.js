// What the page asks of the worker: open a model, segment a photo, save the latest one.

import * as network from "./network.js";
import { decode, pixelsOf, tooLarge } from "./photo.js";
import { paletteImage } from "./png.js";
import * as protocol from "./protocol.js";

// Longest side of the pictures on the page; files that are saved have the photo's size.
const LONGEST_SHOWN = 2048;

let model, opened, latest;

/** Opens a model by the name of its file, and returns what its manifest says. */
export async function open(name) {
  const [manifest, file] = await Promise.all([get(`${name}.json`), get(name)]);
  const bytes = new Uint8Array(await file.arrayBuffer());
  opened?.close();
  opened = null;
  model = await manifest.json();
  opened = await network.open(bytes, model);
  const { classes, palette, size, precision } = model;
  const megabytes = bytes.length / 1e6;
  return { result: { classes, palette, size, precision, megabytes, device: opened.device } };
}

async function get(path) {
  const response = await fetch(new URL(`../${path}`, self.location));
  if (!response.ok) throw new Error(`the server answers ${response.status} to ${path}`);
  return response;
}

/** Segments a file, a bitmap, or the latest photo again (null).
 *
 * Times are in milliseconds.
 */
export async function segment(source) {
  const start = performance.now();
  const bitmap = source instanceof File ? await decode(source) : source ?? latest.bitmap;
  const photo = await pixelsOf(bitmap);
  let networkTime = 0;
  const run = async (pixels) => {
    const begun = performance.now();
    const logits = await opened.run(pixels);
    networkTime += performance.now() - begun;
    return logits;
  };
  const { labels, counts } = await protocol.segment(run, model, photo);
  const time = performance.now() - start;
  if (latest && latest.bitmap !== bitmap) latest.bitmap.close();
  latest = { bitmap, labels, width: photo.width, height: photo.height };
  const factor = Math.min(LONGEST_SHOWN / Math.max(photo.width, photo.height), 1);
  const width = Math.max(Math.round(photo.width * factor), 1);
  const height = Math.max(Math.round(photo.height * factor), 1);
  const mask = await createImageBitmap(paint(latest, width, height));
  const picture = await createImageBitmap(
    bitmap, { resizeWidth: width, resizeHeight: height, resizeQuality: "medium" });
  const shares = counts.map((count) => count / labels.length);
  return {
    result: {
      picture, mask, shares, time, networkTime, width: photo.width, height: photo.height,
    },
    transfer: [picture, mask],
  };
}

/** Makes a PNG file of the latest photo: of its class ids. */
export async function saveIds() {
  return { result: await paletteImage(latest, model.palette) };
}

/** Makes a PNG file of the latest photo: with its mask over it. */
export async function saveOverlay(opacity) {
  const { width, height, bitmap } = latest;
  const context = new OffscreenCanvas(width, height).getContext("2d");
  if (!context) throw tooLarge(latest);
  const mask = await createImageBitmap(paint(latest, width, height));
  context.drawImage(bitmap, 0, 0);
  context.globalAlpha = opacity;
  context.drawImage(mask, 0, 0);
  return { result: await context.canvas.convertToBlob({ type: "image/png" }) };
}


/** Paints labels at a size: each pixel has the colour of the nearest label. */
function paint(photo, width, height) {
  const colours = Uint32Array.from(
    model.palette, ([red, green, blue]) => (255 << 24) | (blue << 16) | (green << 8) | red);
  let image;
  try {
    image = new ImageData(width, height);
  } catch {
    throw tooLarge(photo);
  }
  const painted = new Uint32Array(image.data.buffer);
  const columns = Int32Array.from({ length: width },
    (_, x) => Math.floor(((x + 0.5) * photo.width) / width));
  for (let y = 0, at = 0; y < height; y++) {
    const row = Math.floor(((y + 0.5) * photo.height) / height) * photo.width;
    for (let x = 0; x < width; x++) painted[at++] = colours[photo.labels[row + columns[x]]];
  }
  return image;
}
