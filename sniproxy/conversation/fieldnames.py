"""Field names of PulsarApi.proto that ``sniproxy/pulsar/commands.proto`` leaves out. Pure.

commands.proto leaves out what the proxy must never print. A recording needs these fields, because a conversation
without them cannot be played again; `sniproxy.conversation.striking` strikes the secret ones out.

One message a line: ``Name: NUMBER name kind, ...``. A kind is a scalar of protobuf, a message, or an enum; ``*`` marks
a repeated field. A ``!`` marks a credential, a ``$`` the content of a message. ``=1``: an absent field is true.
"""

MESSAGES = """
Schema: 1 name string, 3 schema_data bytes$, 4 type SchemaType, 5 properties KeyValue*
MessageIdData: 5 ack_set int64*, 6 batch_size int32, 7 first_chunk_message_id MessageIdData
KeyLongValue: 1 key string, 2 value uint64
IntRange: 1 start int32, 2 end int32
EncryptionKeys: 1 key string, 2 value bytes!, 3 metadata KeyValue*
MessageMetadata: 4 properties KeyValue*, 5 replicated_from string, 6 partition_key string$, 7 replicate_to string*,\
 8 compression CompressionType, 9 uncompressed_size uint32, 12 event_time uint64, 13 encryption_keys EncryptionKeys*,\
 14 encryption_algo string, 15 encryption_param bytes!, 16 schema_version bytes, 17 partition_key_b64_encoded bool,\
 18 ordering_key bytes$, 19 deliver_at_time int64, 20 marker_type int32, 22 txnid_least_bits uint64,\
 23 txnid_most_bits uint64, 24 highest_sequence_id uint64, 25 null_value bool, 26 uuid string,\
 27 num_chunks_from_msg int32, 28 total_chunk_msg_size int32, 29 chunk_id int32, 30 null_partition_key bool,\
 31 compacted_batch_indexes int32*, 32 schema_id bytes, 33 entry_hash_min uint32, 34 entry_hash_max uint32
BrokerEntryMetadata: 1 broker_timestamp uint64, 2 index uint64
CommandConnect: 2 auth_method AuthMethod, 3 auth_data bytes!, 8 original_auth_data string!
CommandAuthResponse: 3 protocol_version int32
CommandAuthChallenge: 3 protocol_version int32
AuthData: 2 auth_data bytes!
KeySharedMeta: 1 keySharedMode KeySharedMode, 3 hashRanges IntRange*, 4 allowOutOfOrderDelivery bool,\
 5 entry_bucket_dispatch bool
CommandSubscribe: 7 priority_level int32, 8 durable bool=1, 9 start_message_id MessageIdData, 11 read_compacted bool,\
 12 schema Schema, 14 replicate_subscription_state bool, 15 force_topic_creation bool=1,\
 16 start_message_rollback_duration_sec uint64, 17 keySharedMeta KeySharedMeta, 19 consumer_epoch uint64
CommandPartitionedTopicMetadata: 4 original_auth_data string!, 5 original_auth_method string
CommandLookupTopic: 5 original_auth_data string!, 6 original_auth_method string
CommandProducer: 5 encrypted bool, 7 schema Schema, 8 epoch uint64, 9 user_provided_producer_name bool=1,\
 10 producer_access_mode ProducerAccessMode, 11 topic_epoch uint64, 12 txn_enabled bool,\
 13 initial_subscription_name string
CommandSend: 4 txnid_least_bits uint64, 5 txnid_most_bits uint64, 7 is_chunk bool, 8 marker bool,\
 9 message_id MessageIdData
CommandMessage: 4 ack_set int64*, 5 consumer_epoch uint64
CommandAck: 4 validation_error ValidationError, 5 properties KeyLongValue*, 6 txnid_least_bits uint64,\
 7 txnid_most_bits uint64
CommandAckResponse: 2 txnid_least_bits uint64, 3 txnid_most_bits uint64
CommandUnsubscribe: 3 force bool
CommandSeek: 3 message_id MessageIdData, 4 message_publish_time uint64
CommandRedeliverUnacknowledgedMessages: 2 message_ids MessageIdData*, 3 consumer_epoch uint64
CommandSuccess: 2 schema Schema
CommandProducerSuccess: 5 topic_epoch uint64
CommandConsumerStats: 4 consumer_id uint64
CommandConsumerStatsResponse: 7 consumerName string, 8 availablePermits uint64, 9 unackedMessages uint64,\
 10 blockedConsumerOnUnackedMsgs bool, 11 address string, 12 connectedSince string, 13 type string, 15 msgBacklog uint64
CommandGetLastMessageIdResponse: 1 last_message_id MessageIdData, 3 consumer_mark_delete_position MessageIdData
CommandGetTopicsOfNamespace: 3 mode Mode, 5 topics_hash string
CommandGetTopicsOfNamespaceResponse: 3 filtered bool, 4 topics_hash string
CommandWatchTopicList: 5 topics_hash string
CommandWatchTopicListSuccess: 4 topics_hash string
CommandWatchTopicUpdate: 4 topics_hash string
CommandGetSchema: 3 schema_version bytes
CommandGetSchemaResponse: 4 schema Schema, 5 schema_version bytes
CommandGetOrCreateSchema: 3 schema Schema, 4 producer_name string
CommandGetOrCreateSchemaResponse: 4 schema_version bytes
CommandNewTxn: 2 txn_ttl_seconds uint64, 3 tc_id uint64, 4 scalable bool
CommandNewTxnResponse: 2 txnid_least_bits uint64, 3 txnid_most_bits uint64
CommandAddPartitionToTxn: 2 txnid_least_bits uint64, 3 txnid_most_bits uint64, 4 partitions string*,\
 5 scalable bool
CommandAddPartitionToTxnResponse: 2 txnid_least_bits uint64, 3 txnid_most_bits uint64
Subscription: 1 topic string, 2 subscription string
CommandAddSubscriptionToTxn: 2 txnid_least_bits uint64, 3 txnid_most_bits uint64, 4 subscription Subscription*,\
 5 scalable bool
CommandAddSubscriptionToTxnResponse: 2 txnid_least_bits uint64, 3 txnid_most_bits uint64
CommandEndTxn: 2 txnid_least_bits uint64, 3 txnid_most_bits uint64, 4 txn_action TxnAction, 5 scalable bool
CommandEndTxnResponse: 2 txnid_least_bits uint64, 3 txnid_most_bits uint64
CommandEndTxnOnPartition: 2 txnid_least_bits uint64, 3 txnid_most_bits uint64, 5 txn_action TxnAction,\
 6 txnid_least_bits_of_low_watermark uint64
CommandEndTxnOnPartitionResponse: 2 txnid_least_bits uint64, 3 txnid_most_bits uint64
CommandEndTxnOnSubscription: 2 txnid_least_bits uint64, 3 txnid_most_bits uint64, 4 subscription Subscription,\
 5 txn_action TxnAction, 6 txnid_least_bits_of_low_watermark uint64
CommandEndTxnOnSubscriptionResponse: 2 txnid_least_bits uint64, 3 txnid_most_bits uint64
CommandTcClientConnectRequest: 3 scalable bool
CommandScalableTopicLookup: 3 create_if_missing bool
ScalableTopicSegment: 6 child_ids uint64*, 8 sealed_at_epoch uint64, 10 sealed_at_ms uint64,\
 12 entry_bucket_splits uint32*
ScalableAssignedSegment: 5 bucket_ranges IntRange*
CommandWatchScalableTopics: 3 property_filters KeyValue*
"""

ENUMS = {
    "SchemaType": (
        "None String Json Protobuf Avro Bool Int8 Int16 Int32 Int64 Float Double Date Time Timestamp KeyValue Instant "
        "LocalDate LocalTime LocalDateTime ProtobufNative"
    ),
    "CompressionType": "NONE LZ4 ZLIB ZSTD SNAPPY",
    "ProducerAccessMode": "Shared Exclusive WaitForExclusive ExclusiveWithFencing",
    "AuthMethod": "AuthMethodNone AuthMethodYcaV1 AuthMethodAthens",
    "KeySharedMode": "AUTO_SPLIT STICKY",
    "ValidationError": (
        "UncompressedSizeCorruption DecompressionError ChecksumMismatch BatchDeSerializeError DecryptionError"
    ),
    "Mode": "PERSISTENT NON_PERSISTENT ALL",
    "TxnAction": "COMMIT ABORT",
}
"""The names of each enum, in the order of their numbers, which begin with 0."""

REQUIRED = {
    "CommandAck": "ack_type",
    "CommandConsumerStats": "consumer_id",
    "CommandError": "error message",
    "CommandGetLastMessageIdResponse": "last_message_id",
    "CommandGetOrCreateSchema": "schema",
    "CommandRedeliverUnacknowledgedMessages": "consumer_id",
    "CommandSendError": "error message",
    "CommandSubscribe": "subType",
    "CommandTopicMigrated": "resource_type",
    "CommandWatchTopicList": "topics_pattern",
    "CommandWatchTopicListSuccess": "topics_hash",
    "CommandWatchTopicUpdate": "topics_hash",
    "EncryptionKeys": "key value",
    "IntRange": "start end",
    "KeyLongValue": "key value",
    "KeySharedMeta": "keySharedMode",
    "KeyValue": "key value",
    "Schema": "name schema_data type",
    "Subscription": "topic subscription",
}
"""Fields that PulsarApi.proto requires, and ``commands.proto`` does not: the proxy reads more than it must."""

PRIVATE = frozenset({"original_principal"})
"""Fields of ``commands.proto`` that are private: `sniproxy.inspector.revealing` shows them only on request."""
