"use strict";
// Point at a trial to read it, click it to find it in every plot and in the table.
const trials = JSON.parse(document.getElementById("trials").textContent);
const tip = document.getElementById("tip");
const number = (element) => element.id.split("-")[1];
const points = [...document.querySelectorAll('svg g[id^="trial-"]')];

function show(event, element) {
  tip.textContent = trials[number(element)];
  tip.style.display = "block";
  const right = window.innerWidth - tip.offsetWidth - 8;
  const bottom = window.innerHeight - tip.offsetHeight - 8;
  tip.style.left = Math.max(4, Math.min(event.clientX + 14, right)) + "px";
  tip.style.top = Math.max(4, Math.min(event.clientY + 14, bottom)) + "px";
}

function choose(wanted) {
  for (const point of points) point.classList.toggle("chosen", number(point) === wanted);
  for (const cell of document.querySelectorAll("[data-trial]"))
    cell.classList.toggle("chosen-column", cell.dataset.trial === wanted);
}

for (const point of points) {
  point.addEventListener("mousemove", (event) => show(event, point));
  point.addEventListener("mouseleave", () => { tip.style.display = "none"; });
  point.addEventListener("click", () => choose(number(point)));
}
for (const cell of document.querySelectorAll("thead [data-trial]"))
  cell.addEventListener("click", () => choose(cell.dataset.trial));
