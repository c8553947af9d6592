"""A JupyterLab of the tests' own: on the loopback address, with a token, on a copied notebooks/."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
START_SECONDS = 120  # a machine that trains at the same time is slow to start

# A new student's settings, but for what would need the internet, and what writes behind our back.
SETTINGS: dict[str, dict[str, Any]] = {
    "apputils-extension/notification": {"fetchNews": "false", "checkForUpdates": False},
    "docmanager-extension/plugin": {"autosave": False},
    # Cells out of sight stay in the page, so that every output can be looked at.
    "notebook-extension/tracker": {"windowingMode": "none"},
}


class JupyterLab:
    """A running server: its notebooks lie in `folder`, a copy that may be changed."""

    def __init__(self, home: Path) -> None:
        """home: an empty folder for the copy, the settings and the log."""
        self.home, self.folder = home, home / "root" / "notebooks"
        for name in ("notebooks", "figures"):
            left_out = shutil.ignore_patterns(".ipynb_checkpoints")
            shutil.copytree(ROOT / name, home / "root" / name, ignore=left_out)
        for name, values in SETTINGS.items():
            file = home / "settings" / "@jupyterlab" / f"{name}.jupyterlab-settings"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(values))
        self.token = secrets.token_hex(16)
        self.log = home / "jupyterlab.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                self._command(), cwd=home / "root", env=self._environment(), stdout=log, stderr=log
            )
        try:
            self.url = self._wait()
        except BaseException:
            self.stop()
            raise

    def _command(self) -> list[str]:
        # Port 0: whichever is free; the server writes down which one it was given.
        return [
            sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root",
            "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0", "--ServerApp.quit_button=False",
            f"--ServerApp.root_dir={self.home / 'root'}",
        ]  # fmt: skip

    def _environment(self) -> dict[str, str]:
        """Nobody's settings and start-up files, and kernels that import this checkout's dasrlib."""
        names = {
            "JUPYTER_CONFIG_DIR": "config",
            "JUPYTER_DATA_DIR": "data",
            "JUPYTER_RUNTIME_DIR": "runtime",
            "JUPYTERLAB_SETTINGS_DIR": "settings",
            "JUPYTERLAB_WORKSPACES_DIR": "workspaces",
            "IPYTHONDIR": "ipython",
        }
        dropped = ("MPLBACKEND", "JUPYTER_PATH", "JUPYTER_CONFIG_PATH")
        environment = {k: v for k, v in os.environ.items() if k not in dropped}
        environment |= {name: str(self.home / folder) for name, folder in names.items()}
        environment["JUPYTER_TOKEN"] = self.token
        environment["JUPYTER_PREFER_ENV_PATH"] = "1"
        environment["DASR_PROFILE"] = "smoke"
        # PyTorch's threads sleep while they wait: the browser needs the cores as well.
        environment.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        environment["PYTHONPATH"] = os.pathsep.join(
            [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
        )
        return environment

    def _wait(self) -> str:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and self.process.poll() is None:
            for file in (self.home / "runtime").glob("jpserver-*.json"):
                try:
                    self.url = json.loads(file.read_text())["url"]
                    self.request("api/status")
                    return self.url
                except (OSError, ValueError):  # half written, or not listening yet
                    pass
            time.sleep(0.1)
        raise RuntimeError(f"JupyterLab did not start:\n{self.log.read_text()[-3000:]}")

    def request(self, path: str, method: str = "GET") -> Any:
        """The server's answer to a REST call, read from JSON; None where it is empty."""
        request = urllib.request.Request(self.url + path, method=method)
        request.add_header("Authorization", f"token {self.token}")
        # No proxy: one that the machine is told to use does not know the loopback address.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=30) as answer:
            body = answer.read()
        return json.loads(body) if body else None

    def write(self, name: str, cells: Sequence[str]) -> None:
        """A new notebook, NAME.ipynb, of code cells."""
        import nbformat.v4 as nb

        notebook = nb.new_notebook(
            cells=[nb.new_code_cell(cell) for cell in cells],
            # Without both JupyterLab asks which kernel is meant.
            metadata={
                "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
                "language_info": {"name": "python"},
            },
        )
        (self.folder / f"{name}.ipynb").write_text(json.dumps(notebook), encoding="utf-8")

    def ready(self) -> bool:
        """Whether there is a kernel that has nothing to do, and a page is connected to it."""
        kernels = [session["kernel"] for session in self.request("api/sessions")]
        return any(k["execution_state"] == "idle" and k["connections"] for k in kernels)

    def end_kernels(self) -> None:
        """Ends every kernel, so that one notebook's memory and threads are not another's."""
        for session in self.request("api/sessions"):
            self.request(f"api/sessions/{session['id']}", "DELETE")

    def stop(self) -> None:
        """Ends the server and its kernels."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
