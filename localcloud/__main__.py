"""`python -m localcloud`: the demo, of which nothing but this is loaded before Ctrl-C is heard."""

import os
import sys

EXIT_INTERRUPTED = 130

if __name__ == "__main__":
    try:
        from localcloud import demo

        code = demo.main()
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    sys.stdout.flush()
    # Threads of an interrupted run may still wait for acknowledgements, and Python would wait for them.
    os._exit(code)
