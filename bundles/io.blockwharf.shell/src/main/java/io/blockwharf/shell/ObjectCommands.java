package io.blockwharf.shell;

import io.blockwharf.api.qmp.ObjectStore;
import io.blockwharf.api.qmp.QmpDispatcher;

import org.apache.felix.service.command.Descriptor;
import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;

/** {@code object:*}. */
@Component(
        service = ObjectCommands.class,
        property = {
            "osgi.command.scope=object",
            "osgi.command.function=add",
            "osgi.command.function=list",
            "osgi.command.function=del"
        })
public final class ObjectCommands {
    /**
     * An object.
     *
     * @param id its id
     * @param type its type
     */
    public record StoredObject(String id, String type) {}

    private final QmpDispatcher dispatcher;
    private final ObjectStore objects;

    /** Commands on the daemon's objects. */
    @Activate
    public ObjectCommands(@Reference QmpDispatcher dispatcher, @Reference ObjectStore objects) {
        this.dispatcher = dispatcher;
        this.objects = objects;
    }

    /** Makes an object; all objects that there are now. */
    @Descriptor("make an object: object:add iothread id=t0")
    public List<StoredObject> add(@Descriptor("TYPE id=ID [KEY=VALUE...]") String... words) {
        dispatcher.option("object", Words.arguments("qom-type", List.of(words)), true);
        return list();
    }

    /** All objects. */
    @Descriptor("list the objects, oldest first")
    public List<StoredObject> list() {
        return objects.types().entrySet().stream()
                .map(entry -> new StoredObject(entry.getKey(), entry.getValue()))
                .collect(Collectors.toCollection(ArrayList::new));
    }

    /** Deletes an object. */
    @Descriptor("delete an object that nothing uses")
    public void del(@Descriptor("ID") String id) {
        dispatcher.execute("object-del", Map.of("id", id));
    }
}
