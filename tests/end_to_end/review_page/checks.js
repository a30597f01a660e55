// What is looked at in the page: an expression whose value holds one function for each check.
(() => {
  const sheet = document.createElement("canvas").getContext("2d", { willReadFrequently: true });

  function rgba(color) {
    sheet.clearRect(0, 0, 1, 1);
    sheet.fillStyle = color;
    sheet.fillRect(0, 0, 1, 1);
    const [red, green, blue, alpha] = sheet.getImageData(0, 0, 1, 1).data;
    return [red, green, blue, alpha / 255];
  }

  const over = (front, behind) => front.slice(0, 3).map((one, at) => one * front[3] + behind[at] * (1 - front[3])).concat(1);

  function ground(element) {
    const layers = [];
    for (let one = element; one; one = one.parentElement) {
      layers.push(rgba(getComputedStyle(one).backgroundColor));
      if (layers.at(-1)[3] === 1) break;
    }
    return layers.reduceRight((behind, color) => over(color, behind), [255, 255, 255, 1]);
  }

  // Source: WCAG 2.2, relative luminance and contrast ratio.
  function light(color) {
    const [red, green, blue] = color.map((one) => one / 255).map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4));
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  }

  function ratio(element) {
    const behind = ground(element);
    const shades = [light(over(rgba(getComputedStyle(element).color), behind)), light(behind)];
    return (Math.max(...shades) + 0.05) / (Math.min(...shades) + 0.05);
  }

  const shown = (element) => element.checkVisibility({ visibilityProperty: true }) && !element.closest(".unseen");
  const all = (selector) => [...document.querySelectorAll(selector)];

  return {
    contrast() {
      const told = { seen: 0, found: [] };
      const walk = document.createTreeWalker(document.querySelector("dialog[open]") ?? document.body, NodeFilter.SHOW_TEXT);
      while (walk.nextNode()) {
        const element = walk.currentNode.parentElement;
        if (!walk.currentNode.data.trim() || !shown(element)) continue;
        told.seen += 1;
        const found = ratio(element);
        if (found < 4.5) told.found.push(`${found.toFixed(2)} ${element.className} ${walk.currentNode.data.slice(0, 40)}`);
      }
      return told;
    },
    small() {
      return all("button, a, input, select, textarea, [role=option], summary")
        .filter((one) => shown(one) && !one.matches(".skip"))
        .map((one) => [one.id || one.textContent.trim().slice(0, 30), one.getBoundingClientRect()])
        .filter(([, { width, height }]) => width < 24 || height < 24)
        .map(([name, { width, height }]) => `${name} ${width} x ${height}`);
    },
    touch() {
      return Math.min(...all(".button, #filter").filter(shown).map((one) => one.getBoundingClientRect().height));
    },
    doubled() {
      return all("[id]").map((one) => one.id).filter((id, at, ids) => ids.indexOf(id) !== at);
    },
    lost() {
      const named = (one) => `${one.getAttribute("aria-labelledby") ?? ""} ${one.getAttribute("aria-describedby") ?? ""}`;
      return all("[aria-labelledby], [aria-describedby]").flatMap((one) => named(one).trim().split(/\s+/)).filter((id) => !document.getElementById(id));
    },
    headings() {
      return all("h1, h2, h3, h4").filter(shown).map((one) => Number(one.tagName[1]));
    },
    roles(...selectors) {
      return selectors.map((selector) => document.querySelector(selector).getAttribute("role"));
    },
    /** Everything that Tab must reach; `reached` takes away what has the focus. */
    gather() {
      const wanted = all("a[href], button, input, select, textarea, summary, [tabindex='0']");
      window.wanted = new Set(wanted.filter((one) => one.checkVisibility({ visibilityProperty: true }) && one.tabIndex >= 0 && !one.disabled));
      document.activeElement.blur();
      return window.wanted.size;
    },
    /** {left, unmarked}: what was not reached yet; the focused element if its focus is not shown. */
    reached() {
      const one = document.activeElement;
      window.wanted.delete(one);
      const style = getComputedStyle(one);
      const box = one.closest(".yaml-box");
      const marked = (style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2) || (box && getComputedStyle(box).outlineStyle !== "none");
      const brief = (element) => element.outerHTML.slice(0, 90);
      return { left: [...window.wanted].map(brief), unmarked: one === document.body || marked ? "" : brief(one) };
    },
  };
})()
