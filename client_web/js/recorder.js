// @ts-check
/** Recording the avatar to a file that says what it is: AI-generated. */

const TYPES = ["video/webm;codecs=vp9", "video/webm;codecs=vp8", "video/webm", "video/mp4"];
const NOTICE = "AI-generated: the person shown is an avatar animated by lia-live";
const SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia";

export class Recorder {
  /** @param {(file: {blob: Blob, name: string}, asked: boolean) => void} done `asked`: false if the stream broke off */
  constructor(done) {
    this.done = done;
    /** @type {MediaRecorder | null} */
    this.recorder = null;
    this.asked = false;
    this.startedAt = 0;
  }

  static get type() {
    if (typeof MediaRecorder !== "function") return null;
    return TYPES.find((type) => MediaRecorder.isTypeSupported(type)) ?? null;
  }

  get running() {
    return this.recorder !== null;
  }

  /** @param {MediaStream} stream */
  start(stream) {
    const mimeType = Recorder.type;
    if (!mimeType || this.running) return;
    /** @type {Blob[]} */
    const pieces = [];
    const recorder = new MediaRecorder(stream, { mimeType, videoBitsPerSecond: 4_000_000 });
    this.recorder = recorder;
    this.asked = false;
    this.startedAt = performance.now();
    recorder.addEventListener("dataavailable", (event) => {
      if (event.data.size) pieces.push(event.data);
    });
    recorder.addEventListener("stop", async () => {
      this.recorder = null;
      if (!pieces.length) return;
      const mp4 = mimeType.startsWith("video/mp4");
      const blob = await marked(new Blob(pieces, { type: mp4 ? "video/mp4" : "video/webm" }), mp4);
      const stamp = new Date().toISOString().slice(0, 19).replace(/[-:]/g, "").replace("T", "-");
      this.done({ blob, name: `lia-live-${stamp}-ai-generated.${mp4 ? "mp4" : "webm"}` }, this.asked);
    });
    recorder.start(1000);
  }

  /** @param {boolean} asked */
  stop(asked = true) {
    this.asked = asked;
    if (this.recorder?.state !== "inactive") this.recorder?.stop();
  }
}

/** Offer a file to the person. @param {Blob} blob @param {string} name */
export function save(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/**
 * The same recording with its provenance inside, in the place each container has for it.
 * @param {Blob} blob
 * @param {boolean} mp4
 */
async function marked(blob, mp4) {
  if (mp4) return new Blob([blob, xmpBox()], { type: blob.type });
  const head = new Uint8Array(await blob.slice(0, 65536).arrayBuffer());
  const at = find(head, [0x1f, 0x43, 0xb6, 0x75]); // the first cluster; tags may stand before it
  if (at < 0) return blob;
  return new Blob([blob.slice(0, at), webmTags(), blob.slice(at)], { type: blob.type });
}

/** @param {Uint8Array} bytes @param {number[]} wanted */
function find(bytes, wanted) {
  return bytes.findIndex((_, at) => wanted.every((value, i) => bytes[at + i] === value));
}

/** Matroska's Tags element: a Tag for the whole file with two SimpleTags. */
function webmTags() {
  const tag = (/** @type {string} */ name, /** @type {string} */ text) =>
    ebml([0x67, 0xc8], [...ebml([0x45, 0xa3], utf8(name)), ...ebml([0x44, 0x87], utf8(text))]);
  const targets = ebml([0x63, 0xc0], []);
  const tags = [...targets, ...tag("COMMENT", `${NOTICE}. digitalSourceType: ${SOURCE_TYPE}`), ...tag("DESCRIPTION", NOTICE)];
  return new Uint8Array(ebml([0x12, 0x54, 0xc3, 0x67], ebml([0x73, 0x73], tags)));
}

/** One EBML element: id, four bytes of size, content. @param {number[]} id @param {number[]} content */
function ebml(id, content) {
  const size = content.length;
  return [...id, 0x10 | (size >>> 24), (size >>> 16) & 255, (size >>> 8) & 255, size & 255, ...content];
}

/** XMP's own top-level MP4 box, with the IPTC's term for media made by a trained model. */
function xmpBox() {
  const packet =
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">' +
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"><rdf:Description rdf:about=""' +
    ' xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"' +
    ` Iptc4xmpExt:DigitalSourceType="${SOURCE_TYPE}"/></rdf:RDF></x:xmpmeta><?xpacket end="w"?>`;
  const uuid = "be7acfcb97a942e89c71999491e3afac".match(/../g)?.map((pair) => parseInt(pair, 16)) ?? [];
  const body = [...utf8("uuid"), ...uuid, ...utf8(packet)];
  const size = body.length + 4;
  return new Uint8Array([size >>> 24, (size >>> 16) & 255, (size >>> 8) & 255, size & 255, ...body]);
}

/** @param {string} text */
function utf8(text) {
  return [...new TextEncoder().encode(text)];
}
