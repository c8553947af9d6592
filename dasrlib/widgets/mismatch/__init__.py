"""What DASR does when it assumes a wrong blur."""
