package io.blockwharf.qmp.chardev;

import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.api.qmp.Wrapped;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.Optional;

/** {@code chardev-add}. */
@Component
@QmpName("chardev-add")
public final class ChardevAdd implements QmpCommand<ChardevAdd.Arguments, ChardevAdd.Return> {
    /**
     * The arguments.
     *
     * @param id the chardev's id
     * @param backend its kind
     */
    public record Arguments(String id, @Wrapped ChardevBackend backend) {}

    /**
     * QAPI {@code ChardevReturn}.
     *
     * @param pty the device of a pseudo terminal
     */
    public record Return(Optional<String> pty) {}

    private final Chardevs chardevs;

    /** A command that adds to {@code chardevs}. */
    @Activate
    public ChardevAdd(@Reference Chardevs chardevs) {
        this.chardevs = chardevs;
    }

    @Override
    public Return execute(Arguments arguments) {
        chardevs.addByCommand(arguments.id(), arguments.backend());
        return new Return(chardevs.terminal(arguments.id()));
    }
}
