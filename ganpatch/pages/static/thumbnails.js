// Thumbnails out of sprite sheets, in the size that was chosen.

// The edge in pixels that each size is for. "Fit" uses the width of the page.
export const SIZES = { Fit: 0, S: 40, M: 72, L: 120, XL: 200 };
const LARGEST_FIT = 144, SMALLEST_FIT = 48;

// The zoom of a size: images that are enlarged are so by a whole number, which keeps their pixels crisp.
export function zoomOf(size, { height, width }, count, room) {
  const edge = Math.max(height, width);
  const wanted = SIZES[size] ? SIZES[size] / edge : Math.min(LARGEST_FIT / edge, Math.max(SMALLEST_FIT / edge, (room / count - 3) / width));
  if (SIZES[size] && wanted >= 1) return Math.round(wanted);
  return wanted >= 2 ? Math.floor(wanted) : wanted;
}

// Show the thumbnail of a seed as the background of an element; `urlOf(sheet)` returns a sheet's address. With `inputs`,
// its left half is the picture that went into the network.
export function placeShot(element, thumbnails, seed, zoom, urlOf) {
  const { height, width, columns, rows, sheets, places } = thumbnails;
  const place = places[seed];
  const inSheet = place % (columns * rows);
  const sheet = Math.floor(place / (columns * rows));
  const shown = Math.min(columns, thumbnails.count - sheet * columns * rows);
  element.style.width = `${width * zoom}px`;
  element.style.height = `${height * zoom}px`;
  element.style.backgroundImage = `url("${urlOf(sheets[sheet])}")`;
  element.style.backgroundSize = `${shown * width * zoom}px auto`;
  element.style.backgroundPosition = `${-(inSheet % columns) * width * zoom}px ${-Math.floor(inSheet / columns) * height * zoom}px`;
  element.classList.toggle("beside", Boolean(thumbnails.inputs));
  element.classList.toggle("crisp", zoom > 1 && Number.isInteger(zoom));
}
