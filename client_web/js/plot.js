// @ts-check
/** The small live plot: delay as a line over a band, pictures a second as a second line. */

/**
 * @param {HTMLCanvasElement} canvas
 * @param {readonly number[]} delays ms, oldest first
 * @param {readonly number[]} rates pictures a second, beside them
 * @param {number} length how many values fill the width
 */
export function draw(canvas, delays, rates, length) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.clientWidth || 640;
  const height = canvas.clientHeight || 120;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  if (!context) return;
  const style = getComputedStyle(canvas);
  const colour = (/** @type {string} */ name) => style.getPropertyValue(name).trim();
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = `11px ${style.fontFamily}`;

  const left = 52;
  const right = width - 44;
  const top = 14;
  const bottom = height - 8;
  const most = scaleFor(delays);
  const x = (/** @type {number} */ index, /** @type {number} */ count) =>
    right - ((count - 1 - index) / (length - 1)) * (right - left);
  const delayY = (/** @type {number} */ value) => bottom - (Math.min(value, most) / most) * (bottom - top);
  const rateY = (/** @type {number} */ value) => bottom - (Math.min(value, 30) / 30) * (bottom - top);

  context.strokeStyle = colour("--line");
  context.lineWidth = 1;
  context.textBaseline = "middle";
  for (const share of [0, 0.5, 1]) {
    const y = Math.round(delayY(most * share)) + 0.5;
    context.beginPath();
    context.moveTo(left, y);
    context.lineTo(right, y);
    context.stroke();
    context.fillStyle = colour("--accent");
    context.textAlign = "right";
    context.fillText(`${Math.round(most * share)} ms`, left - 8, y);
    context.fillStyle = colour("--ember");
    context.textAlign = "left";
    context.fillText(`${Math.round(30 * share)}/s`, right + 8, y);
  }

  line(context, rates, (v, i) => [x(i, rates.length), rateY(v)], colour("--ember"), 1.5);
  if (delays.length > 1) {
    context.beginPath();
    delays.forEach((value, index) => context.lineTo(x(index, delays.length), delayY(value)));
    context.lineTo(x(delays.length - 1, delays.length), bottom);
    context.lineTo(x(0, delays.length), bottom);
    context.closePath();
    context.globalAlpha = 0.16;
    context.fillStyle = colour("--accent");
    context.fill();
    context.globalAlpha = 1;
  }
  line(context, delays, (v, i) => [x(i, delays.length), delayY(v)], colour("--accent"), 2);
}

/** A round top of the delay's axis: 100, 200, 400 ms, and so on. @param {readonly number[]} delays */
export function scaleFor(delays) {
  let most = 100;
  const largest = Math.max(0, ...delays);
  while (most < largest && most < 12800) most *= 2;
  return most;
}

/**
 * @param {CanvasRenderingContext2D} context
 * @param {readonly number[]} values
 * @param {(value: number, index: number) => [number, number]} place
 * @param {string} colour
 * @param {number} width
 */
function line(context, values, place, colour, width) {
  context.strokeStyle = colour;
  context.lineWidth = width;
  context.lineJoin = "round";
  context.beginPath();
  values.forEach((value, index) => context.lineTo(...place(value, index)));
  context.stroke();
}
