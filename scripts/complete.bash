# Completion of groups, choices and keys with TAB, for bash: source scripts/complete.bash
# Typing `uv run scripts/train.py model=` and TAB then lists the models; all of what uv completes itself stays.
[ -n "$BASH_VERSION" ] || { echo "for bash only" >&2 && return 1; }
_imgclf_before=$(complete -p uv 2>/dev/null | sed -n 's/.* -F \([^ ]*\) .*/\1/p')

_imgclf_complete() {
    local ours='^uv run (.* )?(scripts/[a-z_]+\.py) '
    if [[ ! $COMP_LINE =~ $ours ]]; then
        if [[ -n $_imgclf_before && $_imgclf_before != _imgclf_complete ]]; then
            "$_imgclf_before" "$@"
        fi
        return
    fi
    local script=${BASH_REMATCH[2]} typed=${COMP_LINE:${#BASH_REMATCH[0]}}
    local line="$script $typed"
    local word=${typed##* } found choice rest
    read -rd '' -a found < <(COMP_LINE=$line COMP_POINT=${#line} uv run "$script" -sc query=bash 2>/dev/null)
    COMPREPLY=()
    for choice in "${found[@]}"; do # not compgen -W, which would run the $(...) of a file's name
        rest=${choice#"$word"}
        [[ $choice == "$word"* ]] && COMPREPLY+=("$word${rest:+$(printf %q "$rest")}")
    done
}

COMP_WORDBREAKS=${COMP_WORDBREAKS//=} # a key and its value are one word
complete -o nospace -o default -F _imgclf_complete uv
