package io.blockwharf.qmp;

import io.blockwharf.api.qmp.QmpException;

import java.util.Map;
import java.util.Optional;

/** What a client sent. qmp-spec, "Issuing Commands". */
sealed interface Request {
    /** What the answer repeats, if the client gave something. */
    Optional<Object> id();

    /** Whether it is not to wait for the commands before it. */
    default boolean outOfBand() {
        return false;
    }

    /**
     * A command.
     *
     * @param command its name
     * @param outOfBand see {@link Request#outOfBand}
     */
    record Execute(String command, Map<String, ?> arguments, boolean outOfBand, Optional<Object> id)
            implements Request {}

    /**
     * Something that is no command.
     *
     * @param message what is wrong with it
     */
    record Invalid(String message, Optional<Object> id) implements Request {}

    /**
     * Takes a value that was received apart.
     *
     * @param outOfBandEnabled whether the client negotiated {@code oob}
     */
    static Request of(Object json, boolean outOfBandEnabled) {
        if (!(json instanceof Map<?, ?> members)) {
            return new Invalid("QMP input must be a JSON object", Optional.empty());
        }
        Optional<Object> id = Optional.ofNullable(members.get("id"));
        try {
            return of(members, outOfBandEnabled, id);
        } catch (QmpException e) {
            return new Invalid(e.getMessage(), id);
        }
    }

    private static Execute of(Map<?, ?> members, boolean outOfBandEnabled, Optional<Object> id) {
        Optional<String> verb = Optional.empty();
        for (Map.Entry<?, ?> member : members.entrySet()) {
            String name = (String) member.getKey();
            switch (name) {
                case "execute", "exec-oob" -> {
                    if (name.equals("exec-oob") && !outOfBandEnabled) {
                        throw unexpected(name);
                    }
                    if (!(member.getValue() instanceof String)) {
                        throw QmpException.generic("QMP input member '%s' must be a string", name);
                    }
                    if (verb.isPresent()) {
                        throw QmpException.generic(
                                "QMP input member '%s' clashes with '%s'", name, verb.get());
                    }
                    verb = Optional.of(name);
                }
                case "arguments" -> {
                    if (!(member.getValue() instanceof Map)) {
                        throw QmpException.generic(
                                "QMP input member 'arguments' must be an object");
                    }
                }
                case "id" -> {}
                default -> throw unexpected(name);
            }
        }
        String key =
                verb.orElseThrow(() -> QmpException.generic("QMP input lacks member 'execute'"));
        // The keys of what the JSON reader makes are strings.
        @SuppressWarnings("unchecked")
        Map<String, ?> arguments =
                members.get("arguments") instanceof Map<?, ?> given
                        ? (Map<String, ?>) given
                        : Map.of();
        return new Execute((String) members.get(key), arguments, key.equals("exec-oob"), id);
    }

    private static QmpException unexpected(String name) {
        return QmpException.generic("QMP input member '%s' is unexpected", name);
    }
}
