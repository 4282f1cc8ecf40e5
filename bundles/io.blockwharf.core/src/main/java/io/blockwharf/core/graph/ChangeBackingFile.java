package io.blockwharf.core.graph;

import io.blockwharf.api.qmp.Nothing;
import io.blockwharf.api.qmp.QmpCommand;
import io.blockwharf.api.qmp.QmpName;

import org.osgi.service.component.annotations.Activate;
import org.osgi.service.component.annotations.Component;
import org.osgi.service.component.annotations.Reference;

/** QMP {@code change-backing-file}: another name of the backing file in an image. */
@Component(service = QmpCommand.class)
@QmpName("change-backing-file")
public final class ChangeBackingFile implements QmpCommand<ChangeBackingFile.Arguments, Nothing> {
    /**
     * The arguments.
     *
     * @param device the node at the top of the chain
     * @param imageNodeName the node in the chain whose image is changed
     * @param backingFile the name; empty for none
     */
    public record Arguments(String device, String imageNodeName, String backingFile) {}

    private final BlockGraph graph;

    /** Works on that graph. */
    @Activate
    public ChangeBackingFile(@Reference BlockGraph graph) {
        this.graph = graph;
    }

    @Override
    public Nothing execute(Arguments arguments) {
        graph.changeBackingFile(
                arguments.device(), arguments.imageNodeName(), arguments.backingFile());
        return Nothing.NOTHING;
    }
}
