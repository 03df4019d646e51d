"""What `speakerlab doctor` looks at: one file for each part of the machine, each with functions that give findings."""
