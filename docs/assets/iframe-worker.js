// Browsers refuse a Worker to pages opened from the disk; there the search runs in a hidden frame instead.
if (location.protocol === "file:") {
  window.Worker = class extends EventTarget {
    constructor(url) {
      super();
      const frame = document.body.appendChild(document.createElement("iframe"));
      frame.hidden = true;
      this.frame = frame.contentWindow;
      window.frameWorkers = [...(window.frameWorkers || []), this];
      const script = `postMessage = data => parent.frameWorkers[${window.frameWorkers.length - 1}].answer(data);
        importScripts = (...urls) => Promise.all(urls.map(url => new Promise(loaded => {
          const tag = document.createElement("script");
          Object.assign(tag, { src: url, async: false, onload: loaded });
          document.body.append(tag);
        })));`;
      this.ready = new Promise(loaded => frame.addEventListener("load", loaded));
      this.frame.document.open();
      this.frame.document.write(`<body><script>${script}</` + `script><script src="${url}"></` + "script></body>");
      this.frame.document.close();
    }
    postMessage(data) {
      this.ready.then(() => this.frame.dispatchEvent(new MessageEvent("message", { data })));
    }
    answer(data) {
      const event = new MessageEvent("message", { data });
      this.dispatchEvent(event);
      if (this.onmessage) this.onmessage(event);
    }
    terminate() {
      this.frame.frameElement.remove();
    }
  };
}
