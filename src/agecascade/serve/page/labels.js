// Where the label of each box goes: on the top edge of its own box, never over the box of another face or over another label.

const SIZES = [13, 12, 11, 10, 9];  // pixels of the letters, most first
const TALL = 1.5;  // height of a label, in letters
const SIDE = (size) => (size > 10 ? 1 : 0.5);  // what stands beside its text, in letters
const INSIDE = [0.3, 0.55];  // shares of a box's height that a label within may take: if it can be, and at most
const SMALL = 32;  // pixels of a box whose frame is thin
const pen = document.createElement("canvas").getContext("2d");

const meet = (a, b) => Math.min(a.right, b.right) - Math.max(a.left, b.left) > 0 && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 0;
const rect = (left, top, width, height) => ({ left, top, right: left + width, bottom: top + height });

// how far a head goes beyond its box
function head(box) {
  const width = box.right - box.left, height = box.bottom - box.top;
  return rect(box.left - 0.3 * width, box.top - 0.45 * height, 1.6 * width, 1.6 * height);
}

// a label's place: above the box, wider than it where nobody is near; as wide as the box, above it or within; null where it fits nowhere
function place(texts, family, box, others, labels, sheet) {
  const width = box.right - box.left;
  const free = (one, clearance = 0) =>
    one.left >= sheet.left - 1 && one.right <= sheet.right + 1 && one.top >= sheet.top &&
    !others.some((other) => meet(other, { ...one, top: one.top - clearance })) && !labels.some((other) => meet(other, one));
  const forms = texts.flatMap((text) => SIZES.map((size) => {
    pen.font = `640 ${size}px ${family}`;
    return { text, size, wide: Math.ceil(pen.measureText(text).width) + SIDE(size) * size, tall: TALL * size };
  }));
  const { wide, tall } = forms[0];
  const left = Math.min(Math.max(box.left, sheet.left), sheet.right - wide);
  const above = rect(left, box.top - tall, wide, tall);
  if (free(above, tall / 3) && !others.some((other) => meet(head(other), above))) return { ...forms[0], at: above };
  const fitting = forms.filter((one) => one.wide <= width);
  for (const share of INSIDE) {
    for (const form of fitting) {
      const over = rect(box.left, box.top - form.tall, form.wide, form.tall);
      if (free(over, form.tall / 3)) return { ...form, at: over };
      if (form.tall > share * (box.bottom - box.top)) continue;
      for (const y of [box.top, box.bottom - form.tall]) {
        const within = [box.left, box.right - form.wide].map((x) => rect(x, y, form.wide, form.tall)).find((one) => free(one));
        if (within) return { ...form, at: within };
      }
    }
  }
  return null;
}

// places the labels of a sheet as wide as it is now; a box without room for one says its value when it is pointed at or reached by keys
export function arrange(sheet) {
  const area = sheet.getBoundingClientRect(), boxes = [...sheet.querySelectorAll(".box")], labels = [];
  if (!area.width) return;
  const edges = boxes.map((box) => box.getBoundingClientRect());
  const family = getComputedStyle(sheet).fontFamily;
  boxes.forEach((box, number) => {
    const label = box.querySelector(".label"), full = box.querySelector(".full"), own = edges[number];
    const found = place(JSON.parse(box.dataset.texts), family, own, edges.filter((_, i) => i !== number), labels, area);
    const border = own.width < SMALL ? 1 : 2;
    box.classList.toggle("small", border === 1);
    label.hidden = !found;
    if (found) {
      labels.push(found.at);
      label.textContent = found.text;
      label.style.fontSize = `${found.size}px`;
      label.style.paddingInline = `${SIDE(found.size) / 2}em`;
      label.style.left = `${found.at.left - own.left - border}px`;
      label.style.top = `${found.at.top - own.top - border}px`;
    }
    const wide = full.offsetWidth, tall = full.offsetHeight;
    full.style.left = `${Math.max(Math.min(0, area.right - own.left - wide), area.left - own.left) - border}px`;
    full.style.top = own.top - tall < area.top ? "100%" : `${-tall - border}px`;
  });
}
