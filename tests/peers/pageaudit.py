"""Scripts that examine the admin page: its width, its contrast, and the names of its controls."""

from __future__ import annotations

WIDE = """[...document.querySelectorAll("body *")].filter((one) => one.checkVisibility()
    && one.getBoundingClientRect().right > innerWidth + 1
    && !one.closest(".unseen, thead, #picture")).map((one) => one.outerHTML.slice(0, 90))"""
"""The elements that are wider than the window."""

SCROLLED = """[...document.querySelectorAll(".scroll")]
    .filter((one) => one.scrollWidth > one.clientWidth).map((one) => one.firstElementChild.id)"""
"""The tables that scroll sideways."""

CONTRAST = """(() => {
    const parse = (text) => {
        const found = text.match(/[\\d.]+/g).map(Number);
        const scale = text.startsWith("color(srgb") ? 255 : 1;
        return [...found.slice(0, 3).map((value) => scale * value), found[3] ?? 1];
    };
    const over = (top, under) => under.map((value, at) => top[at] * top[3] + value * (1 - top[3]));
    const ground = (node) => {
        if (!node) return [255, 255, 255];
        const colour = parse(getComputedStyle(node).backgroundColor);
        return colour[3] === 1 ? colour.slice(0, 3) : over(colour, ground(node.parentElement));
    };
    const linear = (value) => (value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    const parts = [0.2126, 0.7152, 0.0722];
    const luminance = (colour) => parts.reduce((sum, part, at) => sum + part * linear(colour[at] / 255), 0);
    const bad = [];
    let looked = 0;
    for (const node of document.querySelectorAll("body *")) {
        const own = [...node.childNodes].some((one) => one.nodeType === 3 && one.textContent.trim());
        const left = node.closest(".unseen, title, [disabled], .skip, noscript");
        if (!own || left || !node.checkVisibility()) continue;
        const style = getComputedStyle(node);
        const behind = ground(node.closest("svg")?.parentElement ?? node);
        const colour = over(parse(node.closest("svg") ? style.fill : style.color), behind);
        const [high, low] = [luminance(colour), luminance(behind)].sort((a, b) => b - a);
        const contrast = (high + 0.05) / (low + 0.05);
        looked += 1;
        if (contrast < 4.5) bad.push(`${contrast.toFixed(2)} ${node.tagName} ${node.textContent.slice(0, 30)}`);
    }
    return [looked, [...new Set(bad)]];
})()"""
"""How many texts there are, and those with less contrast than WCAG 2 AA asks of small text."""

UNNAMED = """(() => {
    const bad = [];
    for (const one of document.querySelectorAll("button, input, meter, progress, svg[role=img]")) {
        const label = one.id && document.querySelector(`label[for="${one.id}"]`);
        const named = one.getAttribute("aria-label") || label || one.textContent.trim();
        if (!named && one.checkVisibility()) bad.push(one.outerHTML.slice(0, 90));
    }
    for (const table of document.querySelectorAll("table")) {
        if (!table.caption?.textContent) bad.push(`table ${table.id} without a caption`);
        for (const head of table.querySelectorAll("th")) if (!head.scope) bad.push(`th without scope in ${table.id}`);
    }
    for (const section of document.querySelectorAll("section")) {
        const title = document.getElementById(section.getAttribute("aria-labelledby"));
        if (!section.getAttribute("aria-label") && !title?.textContent) bad.push("section without a name");
    }
    for (const tag of ["h1", "main", "header", "footer", "nav"]) {
        if (document.querySelectorAll(tag).length !== 1) bad.push(`not one ${tag}`);
    }
    return bad;
})()"""
"""Controls, pictures, tables and sections without a name, and landmarks that are missing."""
