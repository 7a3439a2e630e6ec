"""`python -m edge_component`."""

import sys

from edge_component.main import main

sys.exit(main())
