"""Names for the handles of sliders. ipywidgets gives them none, so a screen reader would read a
number without saying what it is."""

from __future__ import annotations

import anywidget


class SliderLabels(anywidget.AnyWidget):
    """Invisible: gives each slider's handle the text of the label beside it as its name."""

    # Beside that: pictures may shrink, where a flex box would keep them as wide as they are.
    _css = ".dasr-frame :is(.widget-html, .widget-html-content) { min-width: 0 }"
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
