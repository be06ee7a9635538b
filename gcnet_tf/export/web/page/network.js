// The network: a TFLite file in LiteRT.js, on the GPU or on the processor.

const LITERT = new URL("../litert/", import.meta.url).href;

let litert = null;

/** Loads LiteRT.js once: with threads where the server allows them (see docs/web.md). */
async function load() {
  if (litert) return litert;
  litert = await import(`${LITERT}index.js`);
  // Its script would look for the .wasm file, and for itself in threads, at the worker.
  self.Module = {
    locateFile: (name) => `${LITERT}wasm/${name}`,
    mainScriptUrlOrBlob: `${LITERT}wasm/litert_wasm_threaded_internal.js`,
  };
  await litert.loadLiteRt(`${LITERT}wasm/`, { threads: self.crossOriginIsolated });
  return litert;
}

/** Opens a model.
 *
 * Float models run on the GPU where there is one, in 32 bits; 8-bit ones on the
 * processor, whose kernels the rounding of the export is made for.
 *
 * @param bytes: the file.
 * @param model: its manifest.
 * @returns {run, device, close}: a function from RGB uint8 of the model's size to its
 *     logits, "GPU" or "processor", and a function that frees the memory.
 */
export async function open(bytes, model) {
  const { loadAndCompile, getWebGpuDevice, Tensor } = await load();
  const isFloat = model.input.dtype === "float32";
  const compile = (accelerator) =>
    loadAndCompile(bytes, { accelerator, gpuOptions: { precision: "fp32" } });
  let compiled = null;
  if (isFloat && getWebGpuDevice()) {
    try {
      compiled = await compile("webgpu");
    } catch (error) {
      console.warn("The GPU does not take this model:", error);
    }
    if (compiled?.isFullyAccelerated === false) {
      compiled.delete();
      compiled = null;
    }
  }
  compiled ??= await compile("wasm");
  const [height, width] = model.size;
  const classes = model.classes.length;
  const run = async (pixels) => {
    const input = new Tensor(
      isFloat ? Float32Array.from(pixels) : pixels, [1, height, width, 3]);
    try {
      const [output] = await compiled.run(input);
      const values = await output.data();
      output.delete();
      return { values, height, width, classes };
    } finally {
      input.delete();
    }
  };
  const onGpu = compiled.options.accelerator === "webgpu";
  return { run, device: onGpu ? "GPU" : "processor", close: () => compiled.delete() };
}
