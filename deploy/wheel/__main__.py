"""`python -m microshare_forwarder`."""

from microshare_forwarder import main

if __name__ == "__main__":
    main()
