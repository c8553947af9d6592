"""Names for the sliders' handles, which ipywidgets leaves nameless: a screen reader says a number
and not what it is the number of."""

from __future__ import annotations

import anywidget


class SliderNames(anywidget.AnyWidget):
    """Nothing to see: the label beside each slider of the same Frame becomes its handle's name."""

    _esm = """
    export default {
      render({ el }) {
        el.style.display = "none";
        let observer;
        const name = frame => {
          for (const slider of frame.querySelectorAll(".widget-slider")) {
            const label = slider.querySelector(".widget-label")?.textContent;
            // Only what differs: setting it is a change that is observed as well.
            for (const handle of slider.querySelectorAll(".noUi-handle"))
              if (label && handle.ariaLabel !== label) handle.ariaLabel = label;
          }
        };
        // The page puts this in its place later, and the sliders' views when they are ready.
        const begin = () => {
          const frame = el.closest(".dasr-frame");
          if (!frame) return void (waiting = requestAnimationFrame(begin));
          name(frame);
          observer = new MutationObserver(() => name(frame));
          observer.observe(frame, { childList: true, subtree: true });
        };
        let waiting = requestAnimationFrame(begin);
        return () => { cancelAnimationFrame(waiting); observer?.disconnect(); };
      },
    };
    """
