// The worker, which keeps the page awake while it decodes and computes. It is a classic
// one, because LiteRT.js loads itself by importScripts; all else is modules.

const session = import("./session.js");
// One action after the other: a model must not be closed while it runs.
let previous = session;

self.onmessage = ({ data }) => {
  previous = previous.then(() => answer(data), () => answer(data));
};

async function answer({ id, action, argument }) {
  try {
    const { result, transfer = [] } = await (await session)[action](argument);
    self.postMessage({ id, result }, transfer);
  } catch (error) {
    const isForPeople = error.name === "PhotoError";
    if (!isForPeople) console.error(error);
    const message = isForPeople ? error.message : `This browser failed: ${error.message}`;
    self.postMessage({ id, error: message });
  }
}
