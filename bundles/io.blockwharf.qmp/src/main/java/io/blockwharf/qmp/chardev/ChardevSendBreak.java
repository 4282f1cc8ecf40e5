package io.blockwharf.qmp.chardev;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** {@code chardev-send-break}: nothing happens, as there are no serial lines. */
@Component
@QmpName("chardev-send-break")
public final class ChardevSendBreak implements QmpCommand<ChardevRemove.Arguments, Nothing> {
    private final Chardevs chardevs;

    /** A command on {@code chardevs}. */
    @Activate
    public ChardevSendBreak(@Reference Chardevs chardevs) {
        this.chardevs = chardevs;
    }

    @Override
    public Nothing execute(ChardevRemove.Arguments arguments) {
        chardevs.check(arguments.id());
        return Nothing.NOTHING;
    }
}
