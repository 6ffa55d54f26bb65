"""`python3 -m boot`: reads the configuration, boots the pod, and ends when the pod is to end."""

import os
from pathlib import Path

from boot.sequence import main

STARTUP = Path(__file__).resolve().parents[1]

os._exit(main(os.environ, STARTUP))  # not sys.exit, which would wait for every thread
