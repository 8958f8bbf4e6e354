// Where a unit is active in an image: an outline at a threshold, as in the GAN Dissection paper, or heat.
// A map is bytes [height, width] from `start` in `bytes`: 0 is nothing, 255 the unit's strongest activation.

// Heat: transparent at 0, yellow at 255.
const ramp = Array.from({ length: 256 }, (_, value) => {
  const t = value / 255;
  return [255 * Math.min(1, 1.6 * t), 255 * Math.max(0, 1.7 * t - 0.7), 60 * (1 - t), 200 * Math.min(1, 1.2 * t)];
});
export function heatCanvas(bytes, start, height, width) {
  const canvas = document.createElement("canvas");
  canvas.width = width;
  canvas.height = height;
  const pixels = new ImageData(width, height);
  for (let i = 0; i < height * width; i++) pixels.data.set(ramp[bytes[start + i]], 4 * i);
  canvas.getContext("2d").putImageData(pixels, 0, 0);
  return canvas;
}

// The contour at `level` as lines [x0, y0, x1, y1] in shares of the image: marching squares over the map, which reads as
// its bilinear enlargement. Beyond the edge nothing is active, so that every contour is closed.
export function contour(bytes, start, height, width, level) {
  const value = (y, x) => (y < 0 || x < 0 || y >= height || x >= width ? level - 1e-3 : bytes[start + y * width + x]);
  const share = (place, count) => Math.min(1, Math.max(0, (place + 0.5) / count));
  const lines = [];
  for (let y = -1; y < height; y++) {
    for (let x = -1; x < width; x++) {
      const corners = [[y, x], [y, x + 1], [y + 1, x + 1], [y + 1, x]];
      const cut = [];
      for (let side = 0; side < 4; side++) {
        const [ay, ax] = corners[side], [by, bx] = corners[(side + 1) % 4];
        const a = value(ay, ax), b = value(by, bx);
        if (a > level === b > level) continue;
        const t = (level - a) / (b - a);
        const mix = (from, to, count) => share(from, count) + t * (share(to, count) - share(from, count));
        cut.push([mix(ax, bx, width), mix(ay, by, height)]);
      }
      for (let i = 0; i + 1 < cut.length; i += 2) lines.push([...cut[i], ...cut[i + 1]]);
    }
  }
  return lines;
}

const DARK = "rgb(0 0 0 / .8)", LIGHT = "#ffdc00";
export function outlineCanvas(bytes, start, height, width, level, shownHeight, shownWidth) {
  const canvas = document.createElement("canvas");
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(shownWidth * scale);
  canvas.height = Math.round(shownHeight * scale);
  const pen = canvas.getContext("2d");
  pen.scale(scale, scale);
  pen.lineCap = "round";
  const inset = (share, length) => Math.min(length - 1, Math.max(1, share * length));
  const path = new Path2D();
  for (const [x0, y0, x1, y1] of contour(bytes, start, height, width, level)) {
    path.moveTo(inset(x0, shownWidth), inset(y0, shownHeight));
    path.lineTo(inset(x1, shownWidth), inset(y1, shownHeight));
  }
  const thin = Math.min(2, Math.max(1.2, shownWidth / 90));
  for (const [style, extra] of [[DARK, 2], [LIGHT, 0]]) {
    pen.strokeStyle = style;
    pen.lineWidth = thin + extra;
    pen.stroke(path);
  }
  return canvas;
}
