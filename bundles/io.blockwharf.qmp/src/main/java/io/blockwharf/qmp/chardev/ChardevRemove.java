package io.blockwharf.qmp.chardev;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** {@code chardev-remove}. */
@Component
@QmpName("chardev-remove")
public final class ChardevRemove implements QmpCommand<ChardevRemove.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param id the chardev's id
     */
    public record Arguments(String id) {}

    private final Chardevs chardevs;

    /** A command that removes from {@code chardevs}. */
    @Activate
    public ChardevRemove(@Reference Chardevs chardevs) {
        this.chardevs = chardevs;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        chardevs.remove(arguments.id());
        return Nothing.NOTHING;
    }
}
