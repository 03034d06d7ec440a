"""`python -m clapas`: the command line, as torchrun and srun start it."""

from clapas.cli import main

if __name__ == "__main__":
    main()
