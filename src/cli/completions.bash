
# What is above knows the tools and the options; commands and their arguments are the shell's affair.
_jsshim() {
    local at=1 offset=_comp_command_offset
    while ((at < COMP_CWORD)); do
        case ${COMP_WORDS[at]} in
            -j | --jobs | --trace)
                ((at += 2))
                # --jobs=4 is three words here.
                [[ ${COMP_WORDS[at - 1]} != = ]] || ((at += 1))
                ;;
            --) ((at += 1)); break ;;
            doctor) ((at == 1)) || break; ((at += 1)) ;;
            status | report | stats | completions) ((at > 1)) || at=$((COMP_CWORD + 1)); break ;;
            -*) ((at += 1)) ;;
            *) break ;;
        esac
    done
    COMPREPLY=()
    if ((at < COMP_CWORD)); then
        declare -F $offset >/dev/null || offset=_command_offset
        if declare -F $offset >/dev/null; then
            $offset "$at"
        else
            mapfile -t COMPREPLY < <(compgen -f -- "$2")
        fi
        return
    fi
    [[ ${COMP_WORDS[at - 1]} == -- ]] || _jsshim_words "$@"
    if ((at == COMP_CWORD)) && [[ $2 != -* ]]; then
        mapfile -t -O ${#COMPREPLY[@]} COMPREPLY < <(compgen -c -- "$2")
    fi
}
