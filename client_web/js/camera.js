// @ts-check
/** The camera: the only module that knows getUserMedia. */

/** Enough for a face square of 256 to 512 pixels; more would cost time on the way and gain nothing. */
const WANTED = { width: { ideal: 640 }, height: { ideal: 480 }, frameRate: { ideal: 30 } };

/**
 * Ask for the camera. Rejects with getUserMedia's own error; `cameraProblem` turns it into a sentence.
 * @param {string} deviceId "" for the browser's default
 * @returns {Promise<MediaStream>}
 */
export async function openCamera(deviceId) {
  if (!navigator.mediaDevices?.getUserMedia) {
    throw new DOMException("no secure context", "InsecureContextError");
  }
  const which = deviceId ? { deviceId: { exact: deviceId } } : { facingMode: "user" };
  const stream = await navigator.mediaDevices.getUserMedia({ audio: false, video: { ...WANTED, ...which } });
  // Tells the encoder that movement matters more than single pixels.
  for (const track of stream.getVideoTracks()) track.contentHint = "motion";
  return stream;
}

/**
 * Another camera while one is open. Most phones have one open at a time: there `before` is closed first.
 * @param {string} deviceId
 * @param {MediaStream} before
 */
export async function openAnother(deviceId, before) {
  try {
    return await openCamera(deviceId);
  } catch (error) {
    const { name } = /** @type {DOMException} */ (error);
    if (name !== "NotReadableError" && name !== "AbortError") throw error;
    closeCamera(before);
    return openCamera(deviceId);
  }
}

/** @param {MediaStream | null} stream the very stream that was given; its light goes out */
export function closeCamera(stream) {
  for (const track of stream?.getTracks() ?? []) track.stop();
}

/**
 * Every camera, by a name to show. Browsers give names only after the camera was allowed once.
 * @returns {Promise<{id: string, name: string}[]>}
 */
export async function listCameras() {
  if (!navigator.mediaDevices?.enumerateDevices) return [];
  const devices = await navigator.mediaDevices.enumerateDevices();
  return devices
    .filter((device) => device.kind === "videoinput" && device.deviceId)
    .map((device, index) => ({ id: device.deviceId, name: device.label || `Camera ${index + 1}` }));
}

/** @param {() => void} changed called when a camera was plugged in or pulled out */
export function watchCameras(changed) {
  navigator.mediaDevices?.addEventListener?.("devicechange", changed);
}
