"""`python -m denseclip_viz`: the command line."""

from denseclip_viz.cli.app import main

if __name__ == "__main__":
    main()
