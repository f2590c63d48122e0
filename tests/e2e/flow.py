"""What the flows share: arguments, a fleet of their own, and a folder that goes with it."""
import argparse
import shutil
import sys
import tempfile

from fleet import Failure, Fleet, need


def run_flow(description, name, run, kept, kafka=False, needs=()):
    """Calls run(fleet), prints `kept` where nothing failed; returns the exit status."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--keep", action="store_true", help="leave the folder of the run")
    arguments = parser.parse_args()
    for program in needs:
        need(program)
    folder = tempfile.mkdtemp(prefix=f"landfall-{name}-")
    try:
        with Fleet(arguments.build, folder, kafka=kafka) as fleet:
            run(fleet)
    except Failure as failure:
        print(failure, file=sys.stderr)
        return 1
    finally:
        if not arguments.keep:
            shutil.rmtree(folder, ignore_errors=True)
    print(kept)
    return 0
