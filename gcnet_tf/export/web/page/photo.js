// Photos: files to upright RGB pixels, as gcnet_tf.runtime.image_files reads them.

/** An error whose message is a sentence for the person at the page. */
export class PhotoError extends Error {
  name = "PhotoError";
}

/** Makes the error about a photo for which the browser lacks memory. */
export function tooLarge({ width, height }) {
  return new PhotoError(`The photo has ${width}x${height} pixels, more than this browser ` +
    "holds. Make it smaller and try again.");
}

// Side of the tiles in which pixels are read: browsers limit canvases, not bitmaps.
const TILE = 2048;
const AS_THEY_ARE = { premultiplyAlpha: "none", colorSpaceConversion: "none" };
const ALLOWED = "allowed: JPEG, PNG, WebP, GIF, BMP and what else this browser shows";
const STARTS = { png: [0x89, 0x50, 0x4e, 0x47], jpeg: [0xff, 0xd8, 0xff] };
const [PNG_BITS, PNG_HEADER_BYTES] = [24, 33];
// JPEG markers that begin a frame; DHT, JPG and DAC lie between them.
const isFrame = (marker) =>
  marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);

/** Decodes an image file, upright by its EXIF orientation.
 *
 * @throws PhotoError: when it is no image, or too large for the browser.
 */
export async function decode(file) {
  const name = file.name || "The image";
  if (!file.size) throw new PhotoError(`${name} is empty; choose another photo.`);
  const header = describe(new Uint8Array(await file.arrayBuffer()));
  if (header?.bits > 8) {
    throw new PhotoError(`${name} has ${header.bits} bits per channel; allowed: 8. ` +
      "Convert it, and choose yourself which value becomes white.");
  }
  try {
    return await createImageBitmap(file, { imageOrientation: "from-image", ...AS_THEY_ARE });
  } catch {
    if (header?.width * header?.height > 2 ** 24) {
      throw tooLarge(header);
    }
    throw new PhotoError(header
      ? `${name} is damaged or cut short; choose another photo.`
      : `${name} is not an image that this browser reads; ${ALLOWED}.`);
  }
}

/** Reads bits and size of a PNG or a JPEG; null for anything else. */
function describe(bytes) {
  const view = new DataView(bytes.buffer);
  const startsAs = (kind) => STARTS[kind].every((byte, at) => bytes[at] === byte);
  if (startsAs("png") && bytes.length >= PNG_HEADER_BYTES) {
    return { bits: bytes[PNG_BITS], width: view.getUint32(16), height: view.getUint32(20) };
  }
  if (!startsAs("jpeg")) return null;
  let at = 2;
  while (at + 9 < bytes.length && bytes[at] === 0xff) {
    if (isFrame(bytes[at + 1])) {
      return { bits: bytes[at + 4], height: view.getUint16(at + 5), width: view.getUint16(at + 7) };
    }
    at += bytes[at + 1] === 0xff ? 1 : 2 + view.getUint16(at + 2);
  }
  return { bits: 8, width: 0, height: 0 };
}

/** Reads the pixels of a bitmap: {pixels: RGB uint8, height, width}.
 *
 * Alpha is dropped, and the colours under it are those of the file.
 *
 * @throws PhotoError: when the browser has no memory for them.
 */
export async function pixelsOf(bitmap) {
  const { width, height } = bitmap;
  let pixels;
  try {
    pixels = new Uint8Array(width * height * 3);
  } catch {
    throw tooLarge(bitmap);
  }
  for (let top = 0; top < height; top += TILE) {
    for (let left = 0; left < width; left += TILE) {
      const tile = {
        left, top, width: Math.min(TILE, width - left), height: Math.min(TILE, height - top),
      };
      const rgba = await tilePixels(bitmap, tile);
      if (!rgba) throw tooLarge(bitmap);
      for (let row = 0, from = 0; row < tile.height; row++) {
        let to = ((top + row) * width + left) * 3;
        for (let column = 0; column < tile.width; column++, from += 4) {
          pixels[to++] = rgba[from];
          pixels[to++] = rgba[from + 1];
          pixels[to++] = rgba[from + 2];
        }
      }
    }
  }
  return { pixels, height, width };
}

async function tilePixels(bitmap, { left, top, width, height }) {
  const context = new OffscreenCanvas(width, height)
    .getContext("2d", { willReadFrequently: true });
  if (!context) return null;
  context.drawImage(bitmap, -left, -top);
  const { data } = context.getImageData(0, 0, width, height);
  for (let at = 3; at < data.length; at += 4) {
    if (data[at] === 255) continue;
    // A 2D canvas multiplies colours by alpha; WebGL gives them as they are.
    const tile = await createImageBitmap(bitmap, left, top, width, height, AS_THEY_ARE);
    return straightPixels(tile) ?? data;
  }
  return data;
}

function straightPixels(bitmap) {
  const { width, height } = bitmap;
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (!gl) return null;
  gl.pixelStorei(gl.UNPACK_PREMULTIPLY_ALPHA_WEBGL, false);
  gl.pixelStorei(gl.UNPACK_COLORSPACE_CONVERSION_WEBGL, gl.NONE);
  gl.bindTexture(gl.TEXTURE_2D, gl.createTexture());
  gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
  gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
  gl.framebufferTexture2D(
    gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, gl.getParameter(gl.TEXTURE_BINDING_2D), 0);
  const pixels = new Uint8Array(width * height * 4);
  gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
  const isRead = gl.getError() === gl.NO_ERROR;
  gl.getExtension("WEBGL_lose_context")?.loseContext();
  return isRead ? pixels : null;
}
