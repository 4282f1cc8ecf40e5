package io.blockwharf.api.export;

import io.blockwharf.api.qmp.QmpException;

import org.osgi.annotation.versioning.ConsumerType;

import java.util.Map;
import java.util.concurrent.CompletionStage;

/** A running export. Its methods may be called from any thread and do not block. */
@ConsumerType
public interface BlockExport {
    /**
     * The key in {@link #details} of the way that requests take, a word, for exports that have
     * several. Lists of exports show it.
     */
    String PATH = "path";

    /** Whether somebody uses the export, so that safe removal has to refuse. */
    boolean inUse();

    /**
     * Begins to end the export: no new clients, existing ones are disconnected, requests in flight
     * are finished. Idempotent.
     */
    void requestShutdown();

    /**
     * Begins to end the export because it is removed for good. Differs from {@link
     * #requestShutdown}, which the end of the daemon or of the driver causes, only where clients
     * can outlive their server and wait for its successor: they are not left waiting.
     */
    default void requestRemoval() {
        requestShutdown();
    }

    /**
     * Begins to end the export without disconnecting anybody: no new clients, and {@link #closed}
     * when the last one has left. May be followed by another call that refuses requests, and by
     * {@link #requestShutdown}.
     *
     * @param refuseRequests whether requests of those who stay fail with {@link
     *     io.blockwharf.api.block.Errno#ESHUTDOWN} from now on
     * @throws QmpException if exports of this type cannot; nothing is done then
     */
    default void requestHide(boolean refuseRequests) {
        throw QmpException.generic(
                "Exports of this type can only be removed in modes 'safe' and 'hard'");
    }

    /**
     * Completes when the last client and the last request are gone, the node is flushed and not
     * used any more, and everything that the export took from the host is given back. Never
     * completes exceptionally.
     */
    CompletionStage<Void> closed();

    /** What is worth showing about the export besides its options, in plain values. */
    default Map<String, Object> details() {
        return Map.of();
    }
}
