// What a page looks like: evaluated in it by status.py.
(() => {
  const channels = (colour) => {
    const [red, green, blue, alpha = 1] = colour.match(/[\d.]+/g).map(Number);
    return { rgb: [red, green, blue], alpha };
  };
  const over = (above, below) => above.rgb.map((value, at) => value * above.alpha + below[at] * (1 - above.alpha));
  // What lies behind an element's text; null where nothing opaque does.
  const ground = (element) => {
    if (!element) return null;
    const own = channels(getComputedStyle(element).backgroundColor);
    if (own.alpha === 1) return own.rgb;
    const below = ground(element.parentElement);
    return below && over(own, below);
  };
  // WCAG 2.2, "relative luminance" and "contrast ratio".
  const luminance = (rgb) => {
    const [red, green, blue] = rgb.map((value) => value / 255)
      .map((value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };

  const texts = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim();
    if (!text) continue;
    const element = walker.currentNode.parentElement;
    const behind = ground(element);
    const colour = channels(getComputedStyle(element).color);
    texts.push({ text, contrast: behind && contrast(over(colour, behind), behind), seen: element.checkVisibility() });
  }
  const boxes = [...document.body.querySelectorAll("*")].map((element) => element.getBoundingClientRect());
  return {
    title: document.title,
    language: document.documentElement.lang,
    text: document.body.innerText,
    texts,
    ground: luminance(ground(document.body) ?? [128, 128, 128]),
    width: innerWidth,
    reaches: Math.max(document.documentElement.scrollWidth, ...boxes.map((box) => Math.ceil(box.right))),
    styled: document.styleSheets.length,
  };
})()
