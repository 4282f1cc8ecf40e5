package io.blockwharf.qmp.chardev;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpException;
import io.blockwharf.api.qmp.QmpName;
import io.blockwharf.api.qmp.Wrapped;
import io.blockwharf.linux.SocketAddress;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** {@code chardev-add}. */
@Component
@QmpName("chardev-add")
public final class ChardevAdd implements QmpCommand<ChardevAdd.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param id the chardev's id
     * @param backend its kind
     */
    public record Arguments(String id, @Wrapped ChardevBackend backend) {}

    private final Chardevs chardevs;

    /** A command that adds to {@code chardevs}. */
    @Activate
    public ChardevAdd(@Reference Chardevs chardevs) {
        this.chardevs = chardevs;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        String id = arguments.id();
        if (chardevs.exists(id)) {
            throw QmpException.generic("Chardev with id '%s' already exists", id);
        }
        try {
            if (arguments.backend() instanceof ChardevBackend.Socket socket
                    && socket.addr() instanceof SocketAddress.Fd fd
                    && !fd.isActivated()) {
                throw QmpException.generic("only QEMU supports file descriptor passing");
            }
            chardevs.add(id, arguments.backend());
            return Nothing.NOTHING;
        } catch (QmpException e) {
            throw new QmpException(
                    "Failed to add chardev '%s': %s".formatted(id, e.getMessage()), e);
        }
    }
}
