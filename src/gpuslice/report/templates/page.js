// The report is whole without this: it adds what a mouse, a finger or a focused link points at, finding, and folding.
(() => {
  "use strict";
  const tip = document.getElementById("tip");
  const fleet = document.getElementById("fleet");
  const workloads = document.getElementById("workloads");
  if (!fleet || !workloads) return;
  for (const each of document.querySelectorAll(".scripted")) each.hidden = false;

  let picked = "";
  let marked = [];
  let anchor = null;
  const pick = (number, at, link) => {
    anchor = at;
    if (number !== picked) {
      for (const each of marked) each.classList.remove("on");
      marked = number ? fleet.querySelectorAll(`g[data-w="${number}"]`) : [];
      for (const each of marked) each.classList.add("on");
      fleet.classList.toggle("picking", number !== "");
      picked = number;
      tip.replaceChildren();
      const row = number && document.getElementById(`w${number}`);
      if (row) {
        const title = document.createElement("h4");
        title.textContent = row.querySelector(".name").textContent;
        tip.append(title, ...row.querySelector(".gist").cloneNode(true).childNodes);
      }
    }
    tip.hidden = !number;
    for (const each of fleet.querySelectorAll("[aria-describedby]")) each.removeAttribute("aria-describedby");
    if (number && link) link.setAttribute("aria-describedby", "tip");
    if (number) place();
  };
  // Below what it tells of if there is room, else above; never outside the window.
  const place = () => {
    const at = anchor.getBoundingClientRect();
    const width = tip.offsetWidth, height = tip.offsetHeight;
    const left = Math.max(12, Math.min(at.left, innerWidth - width - 12));
    const below = at.bottom + 10;
    const top = below + height < innerHeight ? below : Math.max(12, at.top - height - 10);
    tip.style.left = `${left}px`;
    tip.style.top = `${top}px`;
  };
  const pointed = (event) => event.target.closest && event.target.closest("[data-w]");
  fleet.addEventListener("pointerover", (event) => {
    const at = pointed(event);
    if (at) pick(at.dataset.w, at);
    else pick("");
  });
  fleet.addEventListener("pointerleave", () => pick(""));
  fleet.addEventListener("focusin", (event) => {
    const at = pointed(event);
    if (at) pick(at.dataset.w, at, at);
  });
  fleet.addEventListener("focusout", () => pick(""));
  addEventListener("scroll", () => { if (picked) place(); }, { passive: true });
  addEventListener("keydown", (event) => { if (event.key === "Escape") pick(""); });

  // A link to a workload opens it.
  const open = () => {
    const row = /^#w\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    if (!row) return;
    row.hidden = false;
    row.open = true;
    row.scrollIntoView();
    row.querySelector("summary").focus();
  };
  addEventListener("hashchange", open);
  fleet.addEventListener("click", (event) => {
    const at = pointed(event);
    if (!at) return;
    event.preventDefault();
    pick("");
    if (location.hash === `#w${at.dataset.w}`) open();
    else location.hash = `w${at.dataset.w}`;
  });
  open();

  const pools = fleet.querySelectorAll(".pool");
  const fold = (state) => () => { for (const each of pools) each.open = state; };
  document.getElementById("open-all").addEventListener("click", fold(true));
  document.getElementById("fold-all").addEventListener("click", fold(false));

  const rows = [...workloads.querySelectorAll(".workload")];
  const names = rows.map((each) => each.querySelector("summary").textContent.toLowerCase());
  const found = document.getElementById("found");
  document.getElementById("find").addEventListener("input", (event) => {
    const words = event.target.value.toLowerCase().split(/\s+/).filter(Boolean);
    let count = 0;
    rows.forEach((row, index) => {
      row.hidden = !words.every((word) => names[index].includes(word));
      if (!row.hidden) count += 1;
    });
    found.textContent = words.length ? `${count} of ${rows.length}` : "";
  });
})();
