// Squarified treemap (Bruls, Huizing, van Wijk: "Squarified Treemaps", 2000): areas are proportional to
// weights, and rectangles are close to squares, so that labels fit.

/** Rectangles {x, y, width, height} that fill width by height. Weights are positive, the largest first. */
export function squarify(weights, width, height) {
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const areas = weights.map((weight) => (weight / total) * width * height);
  const rectangles = [];
  let free = { x: 0, y: 0, width, height };
  let row = [];
  for (const area of areas) {
    const side = Math.min(free.width, free.height);
    if (row.length && worst([...row, area], side) > worst(row, side)) {
      free = place(row, free, rectangles);
      row = [];
    }
    row.push(area);
  }
  if (row.length) place(row, free, rectangles);
  return rectangles;
}

/** The worst aspect ratio in a row along a side. */
function worst(row, side) {
  const sum = row.reduce((a, b) => a + b, 0);
  return Math.max((side * side * Math.max(...row)) / (sum * sum), (sum * sum) / (side * side * Math.min(...row)));
}

/** Place a row along the shorter side. Returns the free rectangle that is left. */
function place(row, free, rectangles) {
  const sum = row.reduce((a, b) => a + b, 0);
  const upright = free.width >= free.height;
  const thickness = sum / (upright ? free.height : free.width);
  let at = upright ? free.y : free.x;
  for (const area of row) {
    const length = area / thickness;
    rectangles.push(
      upright
        ? { x: free.x, y: at, width: thickness, height: length }
        : { x: at, y: free.y, width: length, height: thickness },
    );
    at += length;
  }
  return upright
    ? { x: free.x + thickness, y: free.y, width: free.width - thickness, height: free.height }
    : { x: free.x, y: free.y + thickness, width: free.width, height: free.height - thickness };
}
