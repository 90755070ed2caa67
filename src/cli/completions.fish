
# What is above knows the tools and the options; commands and their arguments are the shell's affair.
complete -c jsshim -n 'not __fish_jsshim_using_subcommand status report stats doctor completions' -x -a '(__fish_complete_subcommand -- -j --jobs --trace)'
complete -c jsshim -n '__fish_jsshim_using_subcommand doctor' -x -a '(__fish_complete_subcommand --fcs-skip=2)'
complete -c jsshim -n '__fish_jsshim_using_subcommand completions' -x -a 'bash elvish fish powershell zsh'
