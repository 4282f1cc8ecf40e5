package io.blockwharf.qmp.chardev;

import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** {@code chardev-change}: monitors cannot change over, so what is replaced has no user. */
@Component
@QmpName("chardev-change")
public final class ChardevChange implements QmpCommand<ChardevAdd.Arguments, ChardevAdd.Return> {
    private final Chardevs chardevs;

    /** A command on {@code chardevs}. */
    @Activate
    public ChardevChange(@Reference Chardevs chardevs) {
        this.chardevs = chardevs;
    }

    @Override
    public ChardevAdd.Return execute(ChardevAdd.Arguments arguments) {
        chardevs.change(arguments.id(), arguments.backend());
        return new ChardevAdd.Return(chardevs.terminal(arguments.id()));
    }
}
