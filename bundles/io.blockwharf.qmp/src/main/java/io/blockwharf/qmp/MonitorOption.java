package io.blockwharf.qmp;

import io.blockwharf.api.qmp.CommandLineOption;
import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.qmp.wire.JsonText;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Optional;

/** {@code --monitor}: offers QMP on a chardev. */
@Component
@CommandLineOption(
        name = "monitor",
        implied = "chardev",
        help = "[chardev=]ID[,mode=control][,pretty=on|off]: serve QMP on a chardev")
public final class MonitorOption implements QmpCommand<MonitorOption.Arguments, Nothing> {
    /** QAPI {@code MonitorMode}. */
    public enum Mode {
        /** A monitor for people, which this daemon does not have: it has a shell. */
        READLINE,
        /** QMP. */
        CONTROL
    }

    /**
     * QAPI {@code MonitorOptions}.
     *
     * @param id accepted and not used, as in qemu-storage-daemon
     * @param mode must be control (the default)
     * @param pretty whether answers are indented (default false)
     * @param chardev the chardev's id
     */
    public record Arguments(
            Optional<String> id, Optional<Mode> mode, Optional<Boolean> pretty, String chardev) {}

    private final Monitors monitors;

    /** An option that adds to {@code monitors}. */
    @Activate
    public MonitorOption(@Reference Monitors monitors) {
        this.monitors = monitors;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        if (arguments.mode().orElse(Mode.CONTROL) == Mode.READLINE) {
            throw QmpException.generic("Only QMP is supported");
        }
        monitors.add(
                arguments.chardev(),
                arguments.pretty().orElse(false) ? JsonText.PRETTY : JsonText.LINE);
        return Nothing.NOTHING;
    }
}
