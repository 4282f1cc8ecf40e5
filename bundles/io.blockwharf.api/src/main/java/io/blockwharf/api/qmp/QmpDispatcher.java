package io.blockwharf.api.qmp;

import org.osgi.annotation.versioning.ProviderType;

import java.util.List;
import java.util.Map;

/**
 * Carries out commands for the front ends: QMP monitors, the command line, the shell. Commands run
 * one at a time; a call waits for its turn. Not to be called from a thread that serves an export.
 *
 * <p>Arguments and results are JSON values: {@code Map<String, Object>} (in order), {@code
 * List<Object>}, {@link String}, {@link Long} (or another integer), {@link Double}, {@link
 * Boolean}; a JSON null is {@link Null#NULL}.
 */
@ProviderType
public interface QmpDispatcher {
    /** JSON's null. */
    enum Null {
        /** The value. */
        NULL
    }

    /**
     * An option of the command line.
     *
     * @param name without dashes
     * @param implied the key that the first word stands for, or empty
     * @param help a line of help
     */
    record Option(String name, String implied, String help) {}

    /**
     * Carries out a QMP command.
     *
     * @throws QmpException if it failed, with nothing done
     */
    Object execute(String command, Map<String, ?> arguments);

    /**
     * Carries out an option of the command line.
     *
     * @param keyval whether the leaves of {@code arguments} are strings that came from {@code
     *     key=value} (numbers and booleans are parsed then) rather than JSON values
     * @throws QmpException if it failed, with nothing done; {@code COMMAND_NOT_FOUND} if there is
     *     no such option
     */
    Object option(String name, Map<String, ?> arguments, boolean keyval);

    /** The commands that are there now, in order of name. */
    List<String> commands();

    /** The options of the command line that are there now, in order of name. */
    List<Option> options();
}
