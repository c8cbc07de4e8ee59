"""`python -m sniproxy.demo`."""

import sys

from sniproxy.demo.tour import main

sys.exit(main())
