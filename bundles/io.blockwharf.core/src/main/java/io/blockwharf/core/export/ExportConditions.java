package io.blockwharf.core.export;

import java.util.Map;

/** Tells which export types the configuration and the host allow. A service of this bundle. */
public interface ExportConditions {
    /**
     * One type's condition.
     *
     * @param satisfied whether its driver may be used
     * @param reason why, in words, for example {@code CONFIG_FUSE=auto, but /dev/fuse: No such file
     *     or directory}
     */
    record Condition(boolean satisfied, String reason) {}

    /** The conditions now, by export type; a type without one is not in it. */
    Map<String, Condition> conditions();
}
