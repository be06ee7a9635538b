// The way from a photo to inputs of the network, and from its logits to labels: the same
// arithmetic as gcnet_tf.runtime (protocol, windows, resize), rounded to 32 bits at the
// same places. Photos and windows are {pixels: RGB uint8, height, width}; logits are
// {values: float32, height, width, classes}. Sizes are [height, width].

const { fround, max, min, trunc, floor } = Math;

// As Python's int(), numpy's rint: half to even.
const rint = (value) => {
  const low = floor(value);
  if (value - low !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
};

/** Computes the labels of a photo by a protocol.
 *
 * @param run: a function from an input of the network, of its size, to its logits.
 * @param model: {size, protocol, classes} of the manifest.
 * @returns {labels: uint8, counts: pixels of each class}.
 */
export async function segment(run, model, photo) {
  const { protocol, size } = model;
  const slides = protocol.mode === "slide";
  const target = keepRatioSize(photo, protocol.scale, slides ? null : size);
  const resized = resizeImage(photo, target);
  const fitted = async (image) =>
    cropped(await run(padded(image, size, protocol.padding_colour)), image);
  const logits = slides
    ? await slide(fitted, resized, size, strideOf(protocol, size))
    : await fitted(resized);
  return argmax(logits, photo, protocol.align_corners);
}

/** Returns the largest size of this aspect ratio within `scale`, and within `fit`. */
export function keepRatioSize({ height, width }, scale, fit) {
  let factor = min(
    max(...scale) / max(height, width), min(...scale) / min(height, width));
  if (fit) factor = min(factor, fit[0] / height, fit[1] / width);
  return [height, width].map((side) => max(trunc(side * factor + 0.5), 1));
}

/** Returns the steps between windows, scaled from the protocol's window to `size`. */
function strideOf({ stride, window }, size) {
  return size.map((side, axis) => max(floor((side * stride[axis]) / window[axis]), 1));
}

/** Resizes as OpenCV does, with integer weights in units of 1/2048. */
export function resizeImage(image, [height, width]) {
  if (image.height === height && image.width === width) return image;
  const rows = imageTaps(image.height, height, false);
  const columns = imageTaps(image.width, width, true);
  const pixels = new Uint8Array(height * width * 3);
  const stride = image.width * 3;
  // The last two rows of the photo, resized to the new width: neighbours share them.
  const lines = [new Int32Array(width * 3), new Int32Array(width * 3)];
  const held = [-1, -1];
  const line = (row, other) => {
    let slot = held.indexOf(row);
    if (slot < 0) {
      slot = held[0] === other ? 1 : 0;
      resizeLine(image.pixels, row * stride, columns, lines[slot]);
      held[slot] = row;
    }
    return lines[slot];
  };
  for (let y = 0, at = 0; y < height; y++) {
    const upper = line(rows.low[y], rows.high[y]);
    const lower = line(rows.high[y], rows.low[y]);
    const first = rows.lowShare[y], second = rows.highShare[y];
    for (let x = 0; x < width * 3; x++, at++) {
      const sum = ((upper[x] * first) >> 16) + ((lower[x] * second) >> 16);
      pixels[at] = (sum + 2) >> 2;
    }
  }
  return { pixels, height, width };
}

function resizeLine(pixels, start, columns, line) {
  for (let x = 0, at = 0; x < columns.low.length; x++) {
    const left = start + 3 * columns.low[x], right = start + 3 * columns.high[x];
    const first = columns.lowShare[x], second = columns.highShare[x];
    for (let channel = 0; channel < 3; channel++, at++) {
      line[at] = (pixels[left + channel] * first + pixels[right + channel] * second) >> 4;
    }
  }
}

/** Computes the two source positions of each new position, and their weights. */
function imageTaps(oldLength, newLength, sharpBorder) {
  const taps = {};
  for (const name of ["low", "high", "lowShare", "highShare"]) {
    taps[name] = new Int32Array(newLength);
  }
  const step = 1 / (newLength / oldLength);
  for (let index = 0; index < newLength; index++) {
    const source = fround((index + 0.5) * step - 0.5);
    const low = floor(source);
    // Beyond the border OpenCV repeats rows, but gives one column all the weight.
    const isSharp = sharpBorder && (low < 0 || low >= oldLength - 1);
    const share = isSharp ? 0 : fround(source - low);
    taps.low[index] = min(max(low, 0), oldLength - 1);
    taps.high[index] = min(max(low + 1, 0), oldLength - 1);
    taps.lowShare[index] = rint(fround(1 - share) * 2048);
    taps.highShare[index] = rint(share * 2048);
  }
  return taps;
}

/** Pads at the right and at the bottom with a colour. */
export function padded(image, [height, width], colour) {
  if (image.height === height && image.width === width) return image.pixels;
  const pixels = new Uint8Array(height * width * 3);
  for (let at = 0; at < pixels.length; at++) pixels[at] = colour[at % 3];
  copyPart(image.pixels, image.width * 3, 0, pixels, width * 3, 0,
    image.height, image.width * 3);
  return pixels;
}

/** Cuts the padding off. */
function cropped(logits, { height, width }) {
  if (logits.height === height && logits.width === width) return logits;
  const { classes } = logits;
  const values = new Float32Array(height * width * classes);
  copyPart(logits.values, logits.width * classes, 0, values, width * classes, 0,
    height, width * classes);
  return { values, height, width, classes };
}

function copyPart(from, fromStride, fromStart, to, toStride, toStart, rows, length) {
  for (let row = 0; row < rows; row++) {
    const start = fromStart + row * fromStride;
    to.set(from.subarray(start, start + length), toStart + row * toStride);
  }
}

/** Averages the logits of overlapping windows. */
async function slide(predict, image, window, stride) {
  const { height, width } = image;
  const sides = [min(window[0], height), min(window[1], width)];
  const count = new Float32Array(height * width);
  let total, classes;
  for (const top of starts(height, window[0], stride[0])) {
    for (const left of starts(width, window[1], stride[1])) {
      const pixels = new Uint8Array(sides[0] * sides[1] * 3);
      copyPart(image.pixels, width * 3, (top * width + left) * 3, pixels, sides[1] * 3, 0,
        sides[0], sides[1] * 3);
      const part = await predict({ pixels, height: sides[0], width: sides[1] });
      classes = part.classes;
      total ??= new Float32Array(height * width * classes);
      for (let row = 0, from = 0; row < sides[0]; row++) {
        const start = (top + row) * width + left;
        for (let at = start; at < start + sides[1]; at++) {
          count[at]++;
          const end = (at + 1) * classes;
          for (let to = at * classes; to < end; to++) total[to] += part.values[from++];
        }
      }
    }
  }
  for (let at = 0; at < total.length; at++) total[at] /= count[floor(at / classes)];
  return { values: total, height, width, classes };
}

/** Lists where windows begin; the last one ends at the border. */
function starts(length, side, step) {
  const number = floor(max(length - side + step - 1, 0) / step) + 1;
  return Array.from({ length: number },
    (_, index) => max(min(index * step + side, length) - side, 0));
}

/** Takes the class with the largest logit, after resizing the logits to a size.
 *
 * Between two columns of logits a class can only lead where its larger end reaches the
 * largest of all smaller ends. Most often that leaves one class, and no arithmetic.
 */
export function argmax(logits, { height, width }, alignCorners) {
  const { values, classes } = logits;
  const rows = logitTaps(logits.height, height, alignCorners);
  const columns = logitTaps(logits.width, width, alignCorners);
  const line = new Float32Array(logits.width * classes);
  const labels = new Uint8Array(height * width);
  const counts = new Array(classes).fill(0);
  const steps = new Float32Array(classes), candidates = new Uint8Array(classes);
  for (let y = 0, at = 0; y < height; y++) {
    mixRows(values, line, rows.low[y], rows.high[y], rows.share[y]);
    let low = -1, leaders = 0;
    for (let x = 0; x < width; x++, at++) {
      if (columns.low[x] !== low) {
        low = columns.low[x];
        leaders = findLeaders(
          line, low * classes, columns.high[x] * classes, classes, steps, candidates);
      }
      let best = candidates[0];
      if (leaders > 1) {
        const share = columns.share[x];
        let largest = -Infinity;
        for (let index = 0; index < leaders; index++) {
          const label = candidates[index];
          const value = fround(line[low * classes + label] + fround(steps[label] * share));
          if (value > largest) {
            largest = value;
            best = label;
          }
        }
      }
      labels[at] = best;
      counts[best]++;
    }
  }
  return { labels, counts };
}

function mixRows(values, line, low, high, share) {
  const first = low * line.length, second = high * line.length;
  for (let at = 0; at < line.length; at++) {
    const start = values[first + at];
    line[at] = start + fround(fround(values[second + at] - start) * share);
  }
}

/** Lists, in `candidates`, the classes that lead somewhere between two columns. */
function findLeaders(line, left, right, classes, steps, candidates) {
  let bound = -Infinity;
  for (let label = 0; label < classes; label++) {
    const start = line[left + label];
    const step = fround(line[right + label] - start);
    steps[label] = step;
    bound = max(bound, min(start, fround(start + step)));
  }
  let number = 0;
  for (let label = 0; label < classes; label++) {
    const start = line[left + label];
    if (max(start, fround(start + steps[label])) >= bound) candidates[number++] = label;
  }
  return number;
}

/** Computes the two source positions of each new position, and the second's weight. */
function logitTaps(oldLength, newLength, alignCorners) {
  const low = new Int32Array(newLength), high = new Int32Array(newLength);
  const share = new Float32Array(newLength);
  const factor = alignCorners
    ? fround((oldLength - 1) / max(newLength - 1, 1))
    : fround(oldLength / newLength);
  for (let index = 0; index < newLength; index++) {
    // Logits of the very size are not touched, as position and weight are exact then.
    const source = alignCorners
      ? fround(index * factor)
      : fround(max(fround((index + 0.5) * factor), 0.5) - 0.5);
    low[index] = min(trunc(source), oldLength - 1);
    high[index] = min(low[index] + 1, oldLength - 1);
    share[index] = source - low[index];
  }
  return { low, high, share };
}
